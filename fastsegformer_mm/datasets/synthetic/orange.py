"""The fruit: a peel spread flat, and the features that are not defects.

The peel of the half that faces the camera lies on a square map in azimuthal
equidistant projection: the distance from the map's centre is the angle from the
line of sight. What is drawn there in true size is foreshortened towards the limb
when :mod:`.scene` wraps it around the fruit.
"""
import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from .noise import jittered_points, smooth_noise, smoothstep, splat

# sRGB along the ripening: green, green-yellow, yellow, orange, deep orange
RIPENING = np.array([
    (0.36, 0.43, 0.10),
    (0.60, 0.57, 0.10),
    (0.84, 0.63, 0.10),
    (0.88, 0.55, 0.11),
    (0.90, 0.47, 0.10),
], np.float32)


@dataclass
class Peel:
    """The flat map of the visible half of a fruit.

    Attributes:
        radius (float): Radius of the fruit in image pixels. One map pixel is one
            image pixel where the peel faces the camera.
        albedo (np.ndarray): float32 (n, n, 3), RGB in [0, 1].
        height (np.ndarray): float32 (n, n), relief in pixels.
        gloss (np.ndarray): float32 (n, n), share of the specular reflection.
        label (np.ndarray): uint8 (n, n), class index, 0 for sound peel.
        pores (np.ndarray): float32 (n, n), about 1 in the middle of an oil gland.
        taken (list[tuple]): (x, y, radius) of what has been placed.
    """
    radius: float
    albedo: np.ndarray
    height: np.ndarray
    gloss: np.ndarray
    label: np.ndarray
    pores: np.ndarray
    taken: list = field(default_factory=list)

    @property
    def size(self):
        """int: Side of the map in pixels."""
        return self.label.shape[0]

    def place(self, rng, radius, max_tilt=58.0):
        """Find room for something round.

        Args:
            rng (np.random.Generator): Source of randomness.
            radius (float): Radius in pixels; shrinks by up to a half when the
                peel is crowded.
            max_tilt (float): Largest angle from the line of sight in degrees.
                Default: 58.

        Returns:
            tuple[float, float, float]: x, y and radius in map pixels.
        """
        for attempt in range(40):
            tilt = math.acos(rng.uniform(math.cos(math.radians(max_tilt)), 1.0))
            turn = rng.uniform(0.0, 2.0 * math.pi)
            x = self.size / 2 + self.radius * tilt * math.cos(turn)
            y = self.size / 2 + self.radius * tilt * math.sin(turn)
            room = radius * (1.0 - 0.5 * attempt / 39)
            if all(math.hypot(x - a, y - b) > room + c for a, b, c in self.taken):
                break
        self.taken.append((x, y, 1.1 * room))
        return x, y, room

    def window(self, x, y, reach):
        """Slices of the map around a point and the pixel offsets from it."""
        x0, x1 = (int(np.clip(x + d, 0, self.size)) for d in (-reach, reach + 1))
        y0, y1 = (int(np.clip(y + d, 0, self.size)) for d in (-reach, reach + 1))
        ys, xs = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        return (slice(y0, y1), slice(x0, x1)), xs - np.float32(x), ys - np.float32(y)

    def paint(self, where, alpha, colour):
        """Blend a colour (RGB or a map of RGB) into the albedo."""
        patch = self.albedo[where]
        alpha = alpha[..., None].astype(np.float32)
        patch += alpha * (np.asarray(colour, np.float32) - patch)


def ripe_colour(stage):
    """RGB of a ripening stage between 0 (green) and 4 (deep orange)."""
    stage = np.asarray(stage, np.float32)
    knots = np.arange(len(RIPENING))
    return np.stack(
        [np.interp(stage, knots, RIPENING[:, c]) for c in range(3)],
        axis=-1).astype(np.float32)


def make_peel(rng, radius):
    """Sound peel: colour patches, oil glands, lumps, stains, stem or navel end.

    Args:
        rng (np.random.Generator): Source of randomness.
        radius (float): Radius of the fruit in pixels.

    Returns:
        Peel: With an empty label map.

    Example:
        >>> peel = make_peel(np.random.default_rng(0), 40.0)
        >>> peel.size, int(peel.label.max())
        (128, 0)
    """
    size = 2 * math.ceil(radius * math.pi / 2 + 1)
    shape = (size, size)
    ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5

    turn = rng.uniform(0.0, 2.0 * math.pi)
    stage = rng.choice([1.75, 2.2, 2.7, 3.2, 3.7], p=[0.1, 0.2, 0.28, 0.26, 0.16])
    stage = stage + rng.uniform(-0.25, 0.25)
    ripeness = stage + rng.uniform(0.2, 0.9) * (
        xs * math.cos(turn) + ys * math.sin(turn))
    ripeness += 0.14 * smooth_noise(rng, shape, 0.9 * radius, 2)
    if rng.random() < 0.6:  # parts that stayed green, in the shade of a leaf
        green = smooth_noise(rng, shape, 0.9 * radius, 3)
        ripeness -= rng.uniform(0.5, 1.7) * smoothstep(0.4, 2.6, green)
    albedo = ripe_colour(ripeness)
    albedo *= (1.0 + 0.012 * smooth_noise(rng, shape, 0.12 * radius, 3))[..., None]

    spacing = radius * rng.uniform(0.027, 0.036)
    points = jittered_points(rng, shape, spacing)
    weights = rng.uniform(0.3, 1.0, len(points))
    pores = splat(points, weights, shape, 0.17 * spacing)
    contrast = rng.uniform(0.05, 0.2) * (
        1.0 + 0.35 * smooth_noise(rng, shape, 0.7 * radius))
    darkness = np.clip(contrast, 0.02, 0.4) * np.clip(pores, 0.0, 1.3)
    albedo *= 1.0 - darkness[..., None] * np.array([0.75, 1.0, 0.9], np.float32)

    relief = rng.uniform(0.5, 1.0)
    height = -0.13 * relief * spacing * np.clip(pores, 0.0, 1.3)
    height += 0.06 * relief * spacing * smooth_noise(rng, shape, 1.8 * spacing)
    height += 0.05 * spacing * rng.uniform(0.1, 1.6) * smooth_noise(
        rng, shape, 4.5 * spacing)
    height += 0.006 * radius * smooth_noise(rng, shape, 0.6 * radius)
    gloss = np.clip(
        1.0 + 0.25 * smooth_noise(rng, shape, 0.5 * radius, 2), 0.3, 1.6)
    peel = Peel(
        float(radius), albedo, height.astype(np.float32), gloss.astype(np.float32),
        np.zeros(shape, np.uint8), pores)

    end = rng.choice(['stem', 'navel', 'none'], p=[0.34, 0.24, 0.42])
    if end == 'stem':
        add_stem(rng, peel)
    elif end == 'navel':
        add_navel(rng, peel)
    add_blemishes(rng, peel)
    return peel


def _end_position(rng, peel, radius):
    """Where a stem or navel end sits: mostly well away from the middle."""
    tilt = math.radians(rng.uniform(25.0, 78.0))
    turn = rng.uniform(0.0, 2.0 * math.pi)
    x = peel.size / 2 + peel.radius * tilt * math.cos(turn)
    y = peel.size / 2 + peel.radius * tilt * math.sin(turn)
    peel.taken.append((x, y, 1.6 * radius))
    return x, y


def _dent(rng, peel, x, y, radius, depth, creases):
    """A hollow with creases that run away from it."""
    where, dx, dy = peel.window(x, y, 4.0 * radius)
    distance = np.hypot(dx, dy) / radius
    angle = np.arctan2(dy, dx)
    bend = 0.5 * smooth_noise(rng, distance.shape, radius)
    folds = np.cos(creases * angle + bend + rng.uniform(0, 6.3))
    fall = np.exp(-0.5 * (distance / 1.6)**2)
    peel.height[where] -= depth * radius * fall
    peel.height[where] -= (
        0.12 * radius * np.exp(-0.5 * ((distance - 1.4) / 0.9)**2) * folds)
    shade = np.exp(-0.5 * (distance / 1.1)**2) * 0.25
    shade += 0.08 * np.clip(folds, 0, 1) * np.exp(-0.5 * ((distance - 1.4) / 0.8)**2)
    peel.albedo[where] *= (1.0 - np.clip(shade, 0, 0.6))[..., None]
    return where, distance, angle


def add_stem(rng, peel):
    """The stem end: a green calyx with four to six lobes around a pale scar."""
    radius = peel.radius * rng.uniform(0.08, 0.13)
    x, y = _end_position(rng, peel, radius)
    where, distance, angle = _dent(
        rng, peel, x, y, radius, rng.uniform(0.2, 0.6), int(rng.integers(6, 11)))
    lobes = int(rng.integers(4, 6))
    outline = 1.0 + 0.2 * np.cos(lobes * angle + rng.uniform(0, 6.3))
    outline += 0.1 * smooth_noise(rng, distance.shape, 0.6 * radius)
    soft = 1.2 / radius
    calyx = smoothstep(-soft, soft, outline - distance)
    rough = smooth_noise(rng, distance.shape, 0.35 * radius, 3)
    green = np.array([0.29, 0.39, 0.17]) * rng.uniform(0.8, 1.1)
    colour = green * (1.0 + 0.14 * rough)[..., None]
    shadow = 0.35 * smoothstep(-0.35, 0.05, outline - distance)
    peel.paint(where, shadow, (0.20, 0.17, 0.05))
    peel.paint(where, calyx, colour)
    scar = smoothstep(-soft, soft, rng.uniform(0.32, 0.45) - distance)
    peel.paint(where, 0.9 * scar, np.array([0.62, 0.64, 0.48])
               * (1.0 + 0.12 * rough)[..., None])
    ring = np.exp(-0.5 * ((distance - 0.45) / 0.09)**2)
    peel.paint(where, 0.6 * ring, (0.16, 0.22, 0.07))
    peel.height[where] += 0.18 * radius * calyx + 0.03 * radius * rough * calyx
    peel.gloss[where] *= 1.0 - 0.6 * calyx


def add_navel(rng, peel):
    """The navel end: a ring of folded peel around a small dark opening."""
    radius = peel.radius * rng.uniform(0.07, 0.13)
    x, y = _end_position(rng, peel, radius)
    where, distance, angle = _dent(
        rng, peel, x, y, radius, rng.uniform(-0.3, 0.3), int(rng.integers(4, 8)))
    distance = distance * (1.0 + 0.12 * np.cos(
        2 * angle + rng.uniform(0, 6.3)) + 0.1 * smooth_noise(
            rng, distance.shape, 0.8 * radius))
    ring = np.exp(-0.5 * ((distance - 1.0) / 0.22)**2)
    peel.height[where] += 0.25 * radius * ring
    opening = smoothstep(0.1, -0.12, distance - rng.uniform(0.3, 0.6))
    inner = np.array([0.55, 0.30, 0.07]) * (
        1.0 + 0.3 * smooth_noise(rng, distance.shape, 0.4 * radius, 2))[..., None]
    peel.paint(where, 0.8 * opening, inner)
    gap = np.exp(-0.5 * ((distance - 0.5) / 0.1)**2)
    gap *= np.clip(0.6 + 0.6 * smooth_noise(
        rng, distance.shape, 0.8 * radius), 0.0, 1.0)
    peel.paint(where, 0.75 * gap, (0.22, 0.12, 0.05))
    peel.gloss[where] *= 1.0 - 0.6 * opening


def add_blemishes(rng, peel):
    """What is labelled background: dark pores, stains, dust, pale scratches."""
    shape = (peel.size, peel.size)
    scale = peel.radius / 230.0
    if rng.random() < 0.5:  # glands that turned brown, in loose groups
        points = jittered_points(rng, shape, rng.uniform(10, 18) * scale, 0.5)
        cluster = smooth_noise(rng, shape, 0.5 * peel.radius, 2)
        chosen = cluster[points[:, 1], points[:, 0]] > rng.uniform(1.0, 2.0)
        points = points[chosen]
        dots = splat(points, rng.uniform(0.2, 0.8, len(points)), shape, 1.1 * scale)
        peel.paint(np.s_[:, :], 0.8 * np.clip(dots, 0, 1), (0.45, 0.24, 0.06))
    count = int(rng.integers(0, 14))  # single dark specks of one to three pixels
    points = rng.integers(0, peel.size, (count, 2))
    dots = splat(points, rng.uniform(0.4, 1.0, count), shape,
                 rng.uniform(0.5, 1.1) * scale)
    peel.paint(np.s_[:, :], np.clip(dots, 0, 1), (0.16, 0.10, 0.06))
    for _ in range(int(rng.integers(0, 4))):  # faint stains
        reach = peel.radius * rng.uniform(0.04, 0.16)
        x, y = rng.uniform(0.2, 0.8, 2) * peel.size
        where, dx, dy = peel.window(x, y, 2.0 * reach)
        spread = np.exp(-1.5 * (dx**2 + dy**2) / reach**2)
        spread *= smoothstep(0.0, 1.5, smooth_noise(rng, dx.shape, 0.5 * reach, 3))
        tone = (0.42, 0.38, 0.18) if rng.random() < 0.6 else (0.80, 0.66, 0.40)
        peel.paint(where, rng.uniform(0.15, 0.4) * spread, tone)
    if rng.random() < 0.25:  # pale dry flecks (img418's kind)
        flecks = smooth_noise(rng, shape, 5 * scale, 2)
        region = smoothstep(1.2, 2.2, smooth_noise(rng, shape, 0.35 * peel.radius))
        peel.paint(np.s_[:, :], 0.5 * region * smoothstep(0.8, 1.6, flecks),
                   (0.88, 0.76, 0.58))
    if rng.random() < 0.3:  # a thin dent line
        x, y = rng.uniform(0.3, 0.7, 2) * peel.size
        length = peel.radius * rng.uniform(0.15, 0.5)
        steps = np.cumsum(rng.normal(0, 0.18, 12)) + rng.uniform(0, 6.3)
        path = np.cumsum(np.stack([np.cos(steps), np.sin(steps)], 1), 0)
        path = np.rint(path * length / 12 + [x, y]).astype(np.int32)
        line = np.zeros(shape, np.float32)
        cv2.polylines(line, [path], False, 1.0, 1, cv2.LINE_AA)
        line = cv2.GaussianBlur(line, (0, 0), 0.9 * scale + 0.3)
        peel.height -= 1.2 * scale * line
        peel.albedo *= (1.0 - 0.2 * line)[..., None]
