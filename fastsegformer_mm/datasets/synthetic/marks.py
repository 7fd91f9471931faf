"""What the defects have in common: outlines, labels, colours, surroundings."""
import math

import cv2
import numpy as np

from .noise import jittered_points, smooth_noise, smoothstep, splat

BACKGROUND, SUNBURN, ULCER, WIND_SCARRING = range(4)


def blob(rng, dx, dy, radius, aspect, rough, waves=(1.0, 0.4)):
    """Field of an irregular ellipse: 1 in the middle, 0 on the outline."""
    turn = rng.uniform(0.0, math.pi)
    along = dx * math.cos(turn) + dy * math.sin(turn)
    across = dy * math.cos(turn) - dx * math.sin(turn)
    distance = np.hypot(along / math.sqrt(aspect), across * math.sqrt(aspect))
    value = 1.0 - distance / radius
    for wave, amount in zip(waves, rough):
        value = value + amount * smooth_noise(
            rng, dx.shape, max(wave * radius, 2.0), 2)
    # nothing grows past the window, whatever the noise says
    return np.where(distance > 1.75 * radius, -1.0, value).astype(np.float32)


def cover(value, radius, width=1.0):
    """Opacity of the field's inside with an edge of ``width`` pixels."""
    return smoothstep(-0.5 * width / radius, 0.5 * width / radius, value)


def mark(peel, where, inside, index):
    """Label what was drawn and one pixel around it, as annotators do."""
    inside = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    peel.label[where][inside] = index


def tone(rng, colour, spread=0.12):
    """A colour with a random brightness and a little random hue."""
    return np.asarray(colour) * rng.uniform(1 - spread, 1 + spread) * rng.uniform(
        0.96, 1.04, 3)


def halo(rng, peel, where, value, reach, strength):
    """The ring of peel around a defect that stayed green or turned dark."""
    fall = np.exp(-np.clip(-value, 0.0, None) / (0.45 * reach))
    fall *= np.clip(1.0 + 0.3 * smooth_noise(rng, value.shape, 12.0, 2), 0, 1.5)
    fall = np.where(value > -1.0, fall * smoothstep(-1.0, -0.55, value), 0.0)
    shade = (0.33, 0.36, 0.07) if rng.random() < 0.6 else (0.45, 0.27, 0.06)
    peel.paint(where, np.clip(strength * fall, 0, 0.9), tone(rng, shade))


def gland_dots(rng, shape, spacing, sigma, share):
    """Dots where ``share`` of the oil glands lie, between 0 and 1."""
    points = jittered_points(rng, shape, spacing, 0.3)
    points = points[rng.random(len(points)) < share]
    weights = rng.uniform(0.5, 1.3, len(points))
    return np.clip(splat(points, weights, shape, sigma), 0.0, 1.0)
