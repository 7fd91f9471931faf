"""The three defects, drawn on the flat peel with their labels.

A defect is a scalar field, positive inside, from which come its outline, its label
and the depth that its colours follow. Whatever is drawn beside it (a halo, specks)
stays background.
"""
import math

import cv2
import numpy as np

from .marks import (
    SUNBURN,
    ULCER,
    WIND_SCARRING,
    blob,
    cover,
    gland_dots,
    halo,
    mark,
    tone,
)
from .noise import smooth_noise, smoothstep


def add_ulcer(rng, peel, radius):
    """Citrus-canker-like ulcer: a round dark crater with a lighter corky ring.

    Args:
        rng (np.random.Generator): Source of randomness.
        peel (Peel): Changed in place.
        radius (float): Radius in pixels, about 5 to 30 on a 512-pixel image.
    """
    x, y, radius = peel.place(rng, radius)
    heads = [(x, y, radius)]
    if radius > 0.03 * peel.radius and rng.random() < 0.3:  # grown together
        for _ in range(int(rng.integers(1, 4))):
            turn = rng.uniform(0, 2 * math.pi)
            size = radius * rng.uniform(0.4, 0.8)
            gap = (radius + size) * rng.uniform(0.75, 1.0)
            heads.append((x + gap * math.cos(turn), y + gap * math.sin(turn), size))
    dry = rng.random() < 0.3  # a grey scab rather than a dark crater
    for head in heads:
        _draw_ulcer(rng, peel, *head, dry)


def _draw_ulcer(rng, peel, x, y, radius, dry):
    where, dx, dy = peel.window(x, y, 2.6 * radius + 3)
    if dx.size == 0:
        return
    value = blob(
        rng, dx, dy, radius, rng.uniform(1.0, 1.5), (0.11, 0.05), (1.6, 0.5))
    halo(rng, peel, where, value, rng.uniform(0.25, 0.6), rng.uniform(0.25, 0.65))
    grain = smooth_noise(rng, dx.shape, max(0.28 * radius, 1.6), 2)
    cracks = smooth_noise(rng, dx.shape, max(0.5 * radius, 2.2), 2)
    rim = tone(rng, (0.22, 0.13, 0.09))
    ring = tone(rng, (0.50, 0.40, 0.31) if dry else (0.40, 0.27, 0.20))
    heart = tone(rng, (0.42, 0.33, 0.26) if dry else (0.22, 0.13, 0.10))
    wobble = value + 0.08 * cracks
    colour = rim + (ring - rim) * smoothstep(0.10, 0.32, wobble)[..., None]
    split = rng.uniform(0.45, 0.75)
    colour += (heart - colour) * smoothstep(split, split + 0.2, wobble)[..., None]
    # the cork grows in rings
    fine = smooth_noise(rng, dx.shape, 2.2)
    rings = np.cos(2 * math.pi * rng.uniform(2.0, 3.2) * wobble)
    colour = colour * (
        1.0 + 0.14 * grain + 0.13 * fine + 0.12 * rings)[..., None]
    dark = smoothstep(0.9, 1.5, np.abs(cracks)) * smoothstep(0.1, 0.3, value)
    colour = colour * (1.0 - 0.35 * dark)[..., None]
    if rng.random() < 0.4:  # torn tissue shows pale in the crater
        pale = smoothstep(1.0, 1.8, smooth_noise(
            rng, dx.shape, max(0.45 * radius, 2.0), 2)) * smoothstep(0.3, 0.5, value)
        colour += 0.6 * (np.array([0.62, 0.56, 0.50]) - colour) * pale[..., None]
    alpha = cover(value, radius, 2.4)
    peel.paint(where, alpha, colour)
    peel.gloss[where] *= 1.0 - 0.85 * alpha
    profile = 0.12 * radius * smoothstep(-0.15, 0.25, value)
    profile -= 0.16 * radius * smoothstep(0.3, 0.8, value)
    peel.height[where] += 0.7 * profile + 0.2 * grain * alpha
    mark(peel, where, value > 0, ULCER)


def add_sunburn(rng, peel, radius):
    """Sunburn: a dead patch, bleached, scorched or tanned.

    Args:
        rng (np.random.Generator): Source of randomness.
        peel (Peel): Changed in place.
        radius (float): Radius in pixels, about 18 to 74 on a 512-pixel image.
    """
    x, y, radius = peel.place(rng, radius, 48.0)
    where, dx, dy = peel.window(x, y, 2.2 * radius)
    kind = rng.choice([_bleached, _scorched, _tanned], p=[0.45, 0.35, 0.20])
    kind(rng, peel, where, dx, dy, radius)


def _bleached(rng, peel, where, dx, dy, radius):
    """Pale dry patch, dark rim, brown specks, green or dark surroundings."""
    scale = peel.radius / 230.0
    value = blob(rng, dx, dy, radius, rng.uniform(1.0, 1.7), (0.26, 0.14))
    halo(rng, peel, where, value, rng.uniform(0.5, 1.0), rng.uniform(0.5, 0.85))
    near = smoothstep(-0.9, -0.1, value)
    dots = gland_dots(rng, dx.shape, 11 * scale, 1.3 * scale, 0.5)
    peel.paint(where, 0.7 * dots * near, (0.28, 0.14, 0.05))
    alpha = cover(value, radius, 2.0)
    pale = tone(rng, (0.83, 0.77, 0.63), 0.08)
    fine = smooth_noise(rng, dx.shape, 4 * scale, 2)
    broad = smooth_noise(rng, dx.shape, 0.6 * radius)
    colour = pale * (1.0 + 0.045 * fine + 0.05 * broad)[..., None]
    edge = np.exp(-0.5 * (value / (3.0 * scale / radius))**2)
    edge *= np.clip(0.65 + 0.45 * smooth_noise(rng, dx.shape, 0.5 * radius), 0, 1)
    specks = gland_dots(rng, dx.shape, rng.uniform(11, 16) * scale,
                         rng.uniform(1.5, 2.6) * scale, 0.75)
    small = gland_dots(rng, dx.shape, 7 * scale, 1.0 * scale, 0.5)
    dark = np.clip(specks + 0.6 * small, 0, 1)
    colour += 0.9 * (np.array([0.27, 0.15, 0.08]) - colour) * dark[..., None]
    peel.paint(where, alpha, colour)
    peel.paint(where, 0.9 * edge, tone(rng, (0.20, 0.12, 0.06)))
    peel.gloss[where] *= 1.0 - 0.75 * alpha
    peel.height[where] -= 1.2 * scale * smoothstep(-0.05, 0.1, value)
    mark(peel, where, value > 0, SUNBURN)


def _scorched(rng, peel, where, dx, dy, radius):
    """Red-brown scorched patch with pale dead granules in the middle."""
    scale = peel.radius / 230.0
    value = blob(
        rng, dx, dy, radius, rng.uniform(1.2, 2.2), (0.24, 0.16),
        (1.0, 0.28))
    mottle = smooth_noise(rng, dx.shape, 7 * scale, 2)
    reach = value + 0.07 * mottle
    brown = tone(rng, (0.47, 0.25, 0.10))
    rust = np.exp(-np.clip(-value, 0, None) / 0.16) * (value > -0.9)
    peel.paint(where, 0.55 * rust * smoothstep(-0.6, 1.0, mottle), brown)
    alpha = cover(reach, radius, 4.0)
    colour = brown * (1.0 + 0.14 * mottle)[..., None]
    granules = smooth_noise(rng, dx.shape, 4.5 * scale, 2)
    core = smoothstep(0.06, 0.4, value + 0.12 * smooth_noise(
        rng, dx.shape, 0.4 * radius))
    pale = core * smoothstep(-1.1, 0.9, granules)
    cream = tone(rng, (0.80, 0.68, 0.45), 0.08)
    colour += 0.88 * (cream - colour) * pale[..., None]
    dots = gland_dots(rng, dx.shape, 8 * scale, 1.1 * scale, 0.6)
    colour = colour * (1.0 - 0.5 * dots)[..., None]
    peel.paint(where, 0.93 * alpha, colour)
    peel.gloss[where] *= 1.0 - 0.7 * alpha
    peel.height[where] += 0.35 * scale * alpha * granules
    mark(peel, where, reach > 0, SUNBURN)


def _tanned(rng, peel, where, dx, dy, radius):
    """Flat tan patch with a jagged dark outline and pale gland dots."""
    scale = peel.radius / 230.0
    value = blob(
        rng, dx, dy, radius, rng.uniform(1.0, 1.5), (0.16, 0.07),
        (0.9, 0.2))
    alpha = cover(value, radius, 1.6)
    fine = smooth_noise(rng, dx.shape, 5 * scale, 2)
    broad = smooth_noise(rng, dx.shape, 0.7 * radius)
    colour = tone(rng, (0.60, 0.44, 0.24)) * (
        1.0 + 0.05 * fine + 0.07 * broad)[..., None]
    dots = gland_dots(rng, dx.shape, 9.5 * scale, 1.5 * scale, 0.75)
    colour += 0.75 * (np.array([0.86, 0.76, 0.45]) - colour) * dots[..., None]
    edge = np.exp(-0.5 * (value / (2.6 * scale / radius))**2)
    peel.paint(where, 0.92 * alpha, colour)
    peel.paint(where, 0.7 * edge, tone(rng, (0.36, 0.20, 0.10)))
    peel.gloss[where] *= 1.0 - 0.5 * alpha
    peel.height[where] += 0.5 * scale * dots * alpha
    mark(peel, where, value > 0, SUNBURN)


def add_wind_scarring(rng, peel, radius):
    """Wind scarring: a net of thin scars, a broken streak or a corky patch.

    Args:
        rng (np.random.Generator): Source of randomness.
        peel (Peel): Changed in place.
        radius (float): Reach in pixels, about 20 to 86 on a 512-pixel image.
    """
    x, y, radius = peel.place(rng, radius, 55.0)
    where, dx, dy = peel.window(x, y, 2.2 * radius)
    kind = rng.choice([_net, _streak, _cork], p=[0.4, 0.3, 0.3])
    value = kind(rng, peel, dx, dy, radius)
    _draw_scar(rng, peel, where, value, radius)


def _net(rng, peel, dx, dy, radius):
    """Branching lines that meet in small patches."""
    scale = peel.radius / 230.0
    lines = np.zeros(dx.shape, np.float32)
    origin = np.array([-dx[0, 0], -dy[0, 0]])
    start = rng.uniform(0, 2 * math.pi)
    arms = int(rng.integers(4, 8))
    stack = [(origin, start + 2 * math.pi * k / arms + rng.normal(0, 0.3), 1.0, 0)
             for k in range(arms)]
    while stack:
        point, angle, strength, depth = stack.pop()
        for _ in range(int(rng.integers(3, 7))):
            angle += rng.normal(0, 0.45)
            step = radius * rng.uniform(0.10, 0.2)
            after = point + step * np.array([math.cos(angle), math.sin(angle)])
            width = max(round(strength * scale * rng.uniform(4.0, 10.5)), 1)
            cv2.line(lines, tuple(np.rint(point).astype(int).tolist()),
                     tuple(np.rint(after).astype(int).tolist()), 1.0, width)
            point = after
            if depth < 2 and rng.random() < 0.35:
                turn = rng.choice([-1, 1]) * rng.uniform(0.6, 1.4)
                stack.append((point, angle + turn, 0.75 * strength, depth + 1))
    # the warp of the softened lines gives the ragged, web-like outline
    soft = cv2.GaussianBlur(lines, (0, 0), 1.8 * scale + 0.2)
    value = soft - 0.42 + 0.13 * smooth_noise(rng, dx.shape, 7 * scale, 2)
    return np.where(np.hypot(dx, dy) < 1.8 * radius, value, -1.0)


def _streak(rng, peel, dx, dy, radius):
    """A band of broken scars along the way a twig rubbed."""
    scale = peel.radius / 230.0
    value = blob(
        rng, dx, dy, 0.72 * radius, rng.uniform(2.5, 5.5), (0.2, 0.18),
        (0.8, 0.22))
    return value - 0.04 + 0.16 * smooth_noise(rng, dx.shape, 10 * scale, 2)


def _cork(rng, peel, dx, dy, radius):
    """A ragged corky patch with spurs."""
    scale = peel.radius / 230.0
    value = blob(
        rng, dx, dy, 0.7 * radius, rng.uniform(1.0, 2.2), (0.38, 0.3),
        (0.7, 0.3))
    return value + 0.03 + 0.10 * smooth_noise(rng, dx.shape, 9 * scale, 2)


def _draw_scar(rng, peel, where, value, radius):
    scale = peel.radius / 230.0
    inside = (value > 0).astype(np.uint8)
    # crumbs of a few pixels would be dust in the label
    _count, parts, stats, _ = cv2.connectedComponentsWithStats(inside)
    small = stats[:, cv2.CC_STAT_AREA] < 14 * scale**2
    small[0] = False
    inside[small[parts]] = 0
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.5 + 0.25 * scale)
    deep = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 3.0 * scale + 0.3)
    grain = smooth_noise(rng, value.shape, 4.5 * scale, 2)
    tones = [(0.54, 0.36, 0.19), (0.46, 0.32, 0.20), (0.57, 0.47, 0.38),
             (0.44, 0.32, 0.24)]
    base = tone(rng, tones[int(rng.integers(len(tones)))])
    colour = base * (1.0 + 0.10 * grain)[..., None]
    pale = smoothstep(0.75, 1.0, deep) * smoothstep(-0.5, 1.0, grain)
    colour += rng.uniform(0.1, 0.45) * (
        np.array([0.74, 0.65, 0.52]) - colour) * pale[..., None]
    rim = np.clip(alpha * (1.0 - smoothstep(0.45, 0.8, deep)), 0, 1)
    colour = colour * (1.0 - rng.uniform(0.1, 0.35) * rim)[..., None]
    peel.paint(where, rng.uniform(0.82, 0.97) * alpha, colour)
    peel.gloss[where] *= 1.0 - 0.6 * alpha
    peel.height[where] += 0.25 * scale * alpha + 0.12 * scale * grain * alpha
    mark(peel, where, inside > 0, WIND_SCARRING)


def add_defects(rng, peel, classes):
    """Draw the given classes with realistic numbers and sizes.

    Args:
        rng (np.random.Generator): Source of randomness.
        peel (Peel): Changed in place.
        classes (Iterable[int]): Any of 1 (sunburn), 2 (ulcer), 3 (wind scarring).

    Raises:
        ValueError: For another class index.
    """
    unit = peel.radius / 230.0
    for index in sorted(classes):
        if index == SUNBURN:
            for k in range(1 if rng.random() < 0.8 else 2):
                size = rng.uniform(34, 74) if k == 0 else rng.uniform(18, 36)
                add_sunburn(rng, peel, size * unit)
        elif index == ULCER:
            # many small or few large, about log-normal as in the photographs
            count = int(rng.choice([1, 2, 3, 4, 5, 6, 8, 10], p=[
                0.08, 0.12, 0.2, 0.2, 0.15, 0.12, 0.08, 0.05]))
            for k in range(count):
                size = float(np.clip(rng.lognormal(math.log(15.0), 0.4), 5.0, 30))
                if k == 0:
                    size = max(size, 17.0)
                add_ulcer(rng, peel, size * unit)
        elif index == WIND_SCARRING:
            for k in range(int(rng.choice([1, 2, 3], p=[0.4, 0.4, 0.2]))):
                size = rng.uniform(44, 86) if k == 0 else rng.uniform(22, 52)
                add_wind_scarring(rng, peel, size * unit)
        else:
            raise ValueError(
                f'unknown defect class {index!r}: expected 1 (sunburn), 2 (ulcer) '
                'or 3 (wind scarring)')
