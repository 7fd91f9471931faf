"""Frames, and where they lie in the network's input."""

from dataclasses import dataclass

import numpy as np

from .errors import FrameError


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the network's input.

    Args:
        frame (tuple[int]): Height and width of the frame.
        size (tuple[int]): Those of the frame resized.
        top (int): First row of it in the input.
        left (int): First column.
        canvas (tuple[int]): Height and width of the input.
    """

    frame: tuple[int, int]
    size: tuple[int, int]
    top: int
    left: int
    canvas: tuple[int, int]


def check_frame(frame) -> None:
    """Raise a FrameError unless ``frame`` is uint8 of (H, W, 3)."""
    if (
        not isinstance(frame, np.ndarray)
        or frame.dtype != np.uint8
        or frame.ndim != 3
        or frame.shape[2] != 3
        or not frame.size
    ):
        got = (
            f'{frame.dtype} of {frame.shape}'
            if isinstance(frame, np.ndarray)
            else type(frame).__name__
        )
        raise FrameError(
            f'a frame is {got}; expected a NumPy array of uint8, (height, width, 3), '
            "BGR as OpenCV's imread gives it"
        )
