"""The photograph: backgrounds, light, the wrapped fruit, and the camera."""
import math

import cv2
import numpy as np

from .noise import smooth_noise, smoothstep


def make_background(rng, size):
    """A surface to lie on: mostly a pale table before a wall.

    Args:
        rng (np.random.Generator): Source of randomness.
        size (int): Side of the image in pixels.

    Returns:
        np.ndarray: float32 (size, size, 3), RGB in [0, 1].
    """
    makers = [_table, _metal, _wood, _cloth, _conveyor]
    maker = makers[rng.choice(len(makers), p=[0.56, 0.13, 0.12, 0.11, 0.08])]
    return np.clip(maker(rng, size), 0.0, 1.0).astype(np.float32)


def _table(rng, size):
    """White or grey table, wall behind it, a soft seam where they meet."""
    wall = rng.uniform(0.64, 0.82) * np.array([1.0, rng.uniform(
        0.97, 1.0), rng.uniform(0.93, 1.01)])
    table = wall * rng.uniform(1.0, 1.12) * rng.uniform(0.99, 1.01, 3)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size
    horizon = rng.uniform(0.5, 0.85) + rng.uniform(-0.05, 0.05) * xs
    below = smoothstep(-0.012, 0.012, ys - horizon)[..., None]
    image = wall + (table - wall) * below
    seam = np.exp(-0.5 * ((ys - horizon) / rng.uniform(0.006, 0.02))**2)
    image = image * (1.0 - rng.uniform(0.0, 0.16) * seam)[..., None]
    if rng.random() < 0.2:  # a joint in the table top
        at = rng.uniform(0.1, 0.9) + rng.uniform(-0.1, 0.1) * ys
        joint = np.exp(-0.5 * ((xs - at) / 0.003)**2)[..., None] * below
        image = image * (1.0 - joint * rng.uniform(0.1, 0.3)
                         * np.array([0.5, 1.0, 0.9]))
    broad = smooth_noise(rng, (size, size), 0.6 * size, 2)
    image = image * (1.0 + 0.025 * broad)[..., None]
    return _sprinkle(rng, image, int(rng.integers(0, 12)))


def _sprinkle(rng, image, count):
    """Crumbs and dust, a few pixels each."""
    size = image.shape[0]
    for _ in range(count):
        at = tuple(int(v) for v in rng.integers(0, size, 2))
        dark = rng.uniform(0.25, 0.7)
        cv2.circle(image, at, max(round(rng.uniform(0.4, 1.8) * size / 512), 0),
                   tuple(float(v) for v in image[at[1], at[0]] * dark), -1,
                   cv2.LINE_AA)
    return image


def _metal(rng, size):
    """Brushed steel: fine streaks along one direction, a broad reflection."""
    image = np.full((size, size, 3), rng.uniform(0.4, 0.66), np.float32)
    streaks = rng.standard_normal((size, size), dtype=np.float32)
    streaks = cv2.GaussianBlur(streaks, (0, 0), sigmaX=size / 8, sigmaY=0.6)
    streaks /= streaks.std()
    ys = np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    sheen = np.exp(-0.5 * ((ys - rng.uniform(-1, 1)) / rng.uniform(0.4, 0.9))**2)
    image = image * (
        1.0 + 0.045 * streaks + rng.uniform(0.05, 0.3) * sheen)[..., None]
    image = image * rng.uniform(0.97, 1.03, 3)
    turn = rng.choice([0, 1])
    return np.ascontiguousarray(np.rot90(image, turn)) if turn else image


def _wood(rng, size):
    """Boards with grain and dark joints."""
    tone = np.array([0.60, 0.43, 0.27]) * rng.uniform(0.6, 1.2)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size
    if rng.random() < 0.5:
        xs, ys = ys, xs
    boards = rng.uniform(2.0, 4.0)
    board = np.floor(ys * boards + rng.uniform(0, 1)).astype(int)
    shift = rng.uniform(-1, 1, 8)[board % 8]
    warp = 0.03 * smooth_noise(rng, (size, size), 0.4 * size)
    rings = np.sin(60 * (ys + warp + 0.3 * shift) + 3.0 * xs * shift)
    streaks = rng.standard_normal((size, size), dtype=np.float32)
    streaks = cv2.GaussianBlur(streaks, (0, 0), sigmaX=size / 12, sigmaY=0.8)
    if xs[0, 0] == xs[0, -1]:  # the boards stand upright
        streaks = np.ascontiguousarray(streaks.T)
    streaks /= streaks.std()
    image = tone * (1.0 + 0.05 * rings + 0.05 * streaks + 0.07 * shift)[..., None]
    phase = (ys * boards) % 1.0
    joint = np.exp(-0.5 * (np.minimum(phase, 1 - phase) / 0.012)**2)
    return (image * (1.0 - 0.55 * joint)[..., None]).astype(np.float32)


def _cloth(rng, size):
    """Dark woven cloth with soft folds."""
    tone = rng.uniform(0.07, 0.26) * rng.uniform(0.75, 1.25, 3)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
    period = rng.uniform(3.0, 5.5) * size / 512
    weave = np.sin(2 * math.pi * xs / period) * np.sin(2 * math.pi * ys / period)
    folds = smooth_noise(rng, (size, size), 0.35 * size, 2)
    lint = smooth_noise(rng, (size, size), 2.0)
    return tone * (1.0 + 0.10 * weave + 0.2 * folds + 0.05 * lint)[..., None]


def _conveyor(rng, size):
    """Grey-green or blue belt with ribs."""
    tones = [(0.24, 0.33, 0.28), (0.26, 0.32, 0.42), (0.30, 0.30, 0.30)]
    tone = np.array(tones[int(rng.integers(3))]) * rng.uniform(0.8, 1.4)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size
    axis = xs if rng.random() < 0.5 else ys
    ribs = np.sin(2 * math.pi * rng.uniform(5, 11) * axis + rng.uniform(0, 6))
    image = tone * (1.0 + 0.14 * smoothstep(0.55, 1.0, ribs)
                    + 0.04 * smooth_noise(rng, (size, size), 3.0, 2)
                    + 0.05 * smooth_noise(rng, (size, size), 0.5 * size))[..., None]
    return _sprinkle(rng, image.astype(np.float32), int(rng.integers(0, 20)))


def fruit_outline(rng, size):
    """Place and shape of the fruit in the image.

    Returns:
        dict: ``radius`` (mean, pixels), ``tilt`` and ``rho``: float32 (size, size)
        maps of the angle around the centre and of the distance from it, 1 on the
        outline.
    """
    aspect = rng.uniform(1.0, 1.24)
    fill = rng.uniform(0.66, 0.97) if rng.random() < 0.25 else rng.uniform(0.84, 0.97)
    radius = 0.5 * size * fill / math.sqrt(aspect)
    spare = max(0.5 * size * (1.0 - fill), 0.0)
    cx = 0.5 * size + rng.uniform(-1, 1) * spare
    cy = 0.5 * size + rng.uniform(-1, 1) * spare
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32)
    dx, dy = xs - np.float32(cx), ys - np.float32(cy)
    theta = np.arctan2(dy, dx)
    turn = rng.normal(0.0, 0.5) if rng.random() < 0.7 else rng.uniform(0, math.pi)
    root = math.sqrt(aspect)
    reach = 1.0 / np.sqrt((np.cos(theta - turn) / root)**2
                          + (np.sin(theta - turn) * root)**2)
    for order in range(2, 7):
        reach = reach * (1.0 + rng.normal(0, 0.022 / order)
                         * np.cos(order * theta + rng.uniform(0, 6.3)))
    if rng.random() < 0.2:  # a protruding navel at the long end
        lobe = np.angle(np.exp(1j * (theta - turn - rng.choice([0.0, math.pi]))))
        reach = reach * (1.0 + rng.uniform(0.01, 0.03) * np.exp(
            -0.5 * (lobe / 0.12)**2))
    rho = np.hypot(dx, dy) / (radius * reach)
    return {'radius': radius, 'theta': theta.astype(np.float32),
                'rho': rho.astype(np.float32)}


def cast_shadow(rng, background, outline):
    """Darken the surface where the fruit keeps the light away."""
    size = background.shape[0]
    radius = outline['radius']
    mask = (outline['rho'] < 1.0).astype(np.float32)
    soft = rng.uniform(0.6, 1.2)
    lean = rng.uniform(-0.2, 0.2)
    shade = np.zeros((size, size), np.float32)
    for shift, down, blur, depth in (
            (0.3 * lean, 0.03, 0.03, 0.26), (lean, 0.06, 0.1, 0.2),
            (2 * lean, 0.08, 0.25, 0.14)):
        move = np.float32([[1, 0, shift * radius], [0, 1, down * radius]])
        moved = cv2.warpAffine(mask, move, (size, size))
        # half the size is enough for what is blurred this far
        half = cv2.resize(moved, (size // 2, size // 2), interpolation=cv2.INTER_AREA)
        half = cv2.GaussianBlur(half, (0, 0), max(blur * radius / 2, 0.5))
        shade += depth * cv2.resize(half, (size, size))
    ys = np.linspace(0, 1, size, dtype=np.float32)[:, None]
    shade *= 0.25 + 0.75 * smoothstep(0.4, 0.95, ys)
    return background * (1.0 - np.clip(soft * shade, 0, 0.85))[..., None]


def render(rng, peel, outline, background):
    """Wrap the peel around the fruit, light it and put it before the background.

    Returns:
        tuple: RGB float32 (size, size, 3) in [0, 1] and uint8 label (size, size).
    """
    rho, theta = outline['rho'], outline['theta']
    inside = np.clip(rho, 0.0, 1.0)
    tilt = np.arcsin(inside)
    cos_t, sin_t = np.cos(theta), np.sin(theta)
    half = np.float32(peel.size / 2)
    map_x = half + np.float32(peel.radius) * tilt * cos_t
    map_y = half + np.float32(peel.radius) * tilt * sin_t
    slope_x = cv2.Sobel(peel.height, cv2.CV_32F, 1, 0, scale=0.125)
    slope_y = cv2.Sobel(peel.height, cv2.CV_32F, 0, 1, scale=0.125)
    wrap = {'interpolation': cv2.INTER_LINEAR, 'borderMode': cv2.BORDER_REPLICATE}
    albedo = cv2.remap(peel.albedo, map_x, map_y, **wrap)
    relief = cv2.remap(
        cv2.merge([slope_x, slope_y, peel.gloss]), map_x, map_y, **wrap)
    label = cv2.remap(
        peel.label, map_x, map_y, interpolation=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_REPLICATE)

    facing = np.sqrt(1.0 - inside**2)
    outward = relief[..., 0] * cos_t + relief[..., 1] * sin_t
    around = relief[..., 1] * cos_t - relief[..., 0] * sin_t
    def bend(amount):
        tilted = np.stack([
            inside * cos_t - amount * (outward * facing * cos_t - around * sin_t),
            inside * sin_t - amount * (outward * facing * sin_t + around * cos_t),
            facing + amount * outward * inside], axis=-1)
        return tilted / np.linalg.norm(tilted, axis=-1, keepdims=True)

    # light that enters the peel blurs the relief; what is reflected shows it
    image = _light(rng, albedo, bend(0.8), bend(2.2), facing, relief[..., 2])
    edge = smoothstep(-1.4, 1.4, (1.0 - rho) * peel.radius)[..., None]
    image = background + (image - background) * edge
    label[rho > 1.0] = 0
    return image.astype(np.float32), label


def _light(rng, albedo, normal, mirror, facing, gloss):
    """Soft key light from above, fill light, Fresnel haze, micro-highlights."""
    key = np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.8, -0.25), 0.75])
    key /= np.linalg.norm(key)
    harsh = rng.uniform(0.12, 0.42)
    wrap = np.clip((normal @ key + 0.45) / 1.45, 0.0, 1.0)
    bounce = np.clip(0.5 + 0.5 * normal[..., 1], 0, 1)
    shade = (1.0 - harsh) + harsh * 1.35 * wrap
    shade = shade * (1.0 - 0.12 * bounce**2) * (0.9 + 0.1 * facing)
    image = albedo * shade[..., None]
    # multiple scattering in the peel: the shaded side is the more saturated
    image = np.clip(image, 0.0, None)**(1.0 + 0.18 * (1.0 - shade))[..., None]

    lamps = [key]
    for _ in range(int(rng.integers(0, 3))):
        lamp = key + np.array([rng.uniform(-0.7, 0.7), rng.uniform(-0.4, 0.5), 0.0])
        lamps.append(lamp / np.linalg.norm(lamp))
    shine = np.zeros(facing.shape, np.float32)
    power = rng.uniform(18, 70)
    for lamp in lamps:
        middle = lamp + np.array([0.0, 0.0, 1.0])
        middle /= np.linalg.norm(middle)
        spread = np.clip(mirror @ middle, 0.0, 1.0)
        shine += spread**power + 0.15 * spread**(power / 5)
    amount = rng.uniform(0.06, 0.3)
    haze = rng.uniform(0.08, 0.3) * (1.0 - facing)**3
    light = np.clip(amount * shine * gloss, 0, 0.85) + haze
    return image + (1.0 - image) * light[..., None]


def photograph(rng, image):
    """What a camera does: vignette, exposure, white balance, blur, noise.

    Args:
        rng (np.random.Generator): Source of randomness.
        image (np.ndarray): float32 (size, size, 3), RGB in [0, 1].

    Returns:
        np.ndarray: uint8 (size, size, 3), RGB.
    """
    size = image.shape[0]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    far = axis[None, :]**2 + axis[:, None]**2
    gain = rng.uniform(0.9, 1.08) * (1.0 - rng.uniform(0.0, 0.09) * far)
    warm = rng.normal(0.0, 0.025)
    balance = np.array([1.0 + warm, 1.0, 1.0 - 1.4 * warm])
    image = image * gain[..., None] * balance
    grey = image.mean(axis=-1, keepdims=True)
    image = grey + (image - grey) * rng.uniform(0.85, 1.05)
    image = image.astype(np.float32)
    blur = rng.uniform(0.5, 0.9) if rng.random() < 0.85 else rng.uniform(1.0, 1.5)
    image = cv2.GaussianBlur(image, (0, 0), max(blur * size / 512, 0.2))
    if rng.random() < 0.6:  # phones sharpen
        image += rng.uniform(0.1, 0.4) * (image - cv2.GaussianBlur(image, (0, 0), 1.5))
    level = rng.uniform(0.6, 3.0) / 255
    grain = rng.standard_normal(image.shape, dtype=np.float32)
    grain = 0.7 * grain + 0.9 * cv2.GaussianBlur(grain, (0, 0), 0.8)
    image += level * grain * np.sqrt(0.3 + np.clip(image, 0, 1))
    return np.rint(np.clip(image, 0.0, 1.0) * 255).astype(np.uint8)
