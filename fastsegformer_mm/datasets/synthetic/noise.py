"""Random fields and point patterns from which the peel and the scene are made."""
import math

import cv2
import numpy as np


def smooth_noise(rng, shape, wavelength, octaves=1, gain=0.5):
    """Band-limited noise of about unit standard deviation.

    Args:
        rng (np.random.Generator): Source of randomness.
        shape (tuple[int, int]): (height, width) in pixels.
        wavelength (float): Size of the largest structures, in pixels.
        octaves (int): Each further octave halves the wavelength. Default: 1.
        gain (float): Amplitude of an octave relative to the one before.
            Default: 0.5.

    Returns:
        np.ndarray: float32, ``shape``.

    Example:
        >>> smooth_noise(np.random.default_rng(0), (32, 48), 8).shape
        (32, 48)
    """
    height, width = shape
    total = np.zeros(shape, np.float32)
    power = 0.0
    for octave in range(octaves):
        step = max(wavelength / 2**octave, 1.0)
        amplitude = gain**octave
        grid_h = math.ceil(height / step) + 3
        grid_w = math.ceil(width / step) + 3
        grid = rng.standard_normal((grid_h, grid_w), dtype=np.float32)
        # a random phase keeps the lattice from lining up between fields
        dx, dy = rng.uniform(0.5, 1.5, 2)
        xs = np.arange(width, dtype=np.float32) / np.float32(step) + np.float32(dx)
        ys = np.arange(height, dtype=np.float32) / np.float32(step) + np.float32(dy)
        field = cv2.remap(
            grid,
            np.broadcast_to(xs, shape).copy(),
            np.broadcast_to(ys[:, None], shape).copy(),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REFLECT)
        total += amplitude * field
        power += amplitude**2
    # cubic interpolation of unit white noise loses about 30 % of its deviation
    return total * np.float32(1.4 / math.sqrt(power))


def jittered_points(rng, shape, spacing, jitter=0.35):
    """Points on a disturbed hexagonal grid, as the oil glands of a peel lie.

    Args:
        rng (np.random.Generator): Source of randomness.
        shape (tuple[int, int]): (height, width) in pixels.
        spacing (float): Mean distance of neighbours in pixels.
        jitter (float): Standard deviation of the disturbance as a share of
            ``spacing``. Default: 0.35.

    Returns:
        np.ndarray: int32 array (n, 2) of (x, y) inside ``shape``.
    """
    height, width = shape
    row_step = spacing * math.sqrt(3) / 2
    ys, xs = np.mgrid[0:math.ceil(height / row_step), 0:math.ceil(width / spacing)]
    xs = (xs + 0.5 * (ys % 2)) * spacing
    points = np.stack([xs.ravel(), ys.ravel() * row_step], axis=1)
    points += rng.normal(0.0, jitter * spacing, points.shape)
    points = np.rint(points).astype(np.int32)
    inside = ((points >= 0) & (points < [width, height])).all(axis=1)
    return points[inside]


def splat(points, weights, shape, sigma):
    """Sum of Gaussian dots whose peak value is the point's weight.

    Args:
        points (np.ndarray): int (n, 2) of (x, y).
        weights (np.ndarray): float (n, ).
        shape (tuple[int, int]): (height, width) in pixels.
        sigma (float): Radius of a dot in pixels.

    Returns:
        np.ndarray: float32, ``shape``.
    """
    canvas = np.zeros(shape, np.float32)
    np.add.at(canvas, (points[:, 1], points[:, 0]), weights.astype(np.float32))
    if sigma < 0.3:
        return canvas
    kernel = cv2.getGaussianKernel(2 * math.ceil(3 * sigma) + 1, sigma)
    return cv2.GaussianBlur(canvas, (0, 0), sigma) / np.float32(kernel.max()**2)


def smoothstep(low, high, value):
    """0 below ``low``, 1 above ``high``, a smooth ramp between."""
    ramp = np.clip((value - low) / (high - low), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)
