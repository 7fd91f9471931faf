"""One picture on its way through a prediction."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """A picture and where it is from.

    Args:
        image (np.ndarray): uint8 BGR of (H, W, 3).
        origin (str): Name of its file or stream in the records.
        name (str): Where its outputs lie, without folder and suffix.
        index (int, optional): Number of the frame in a video or stream, from 0.
            Defaults to None: it is an image file.
        seconds (float, optional): Its time in the video, or since the stream began.
        at (str, optional): Of a live stream, date and time in UTC (ISO 8601).
        stamp (tuple[int], optional): Bytes and time of change in nanoseconds of an
            image file, by which a changed file is known.
        rate (float, optional): Frames a second of the video or stream, as it states.
        reading (float): Seconds that reading and decoding took.
    """

    image: np.ndarray
    origin: str
    name: str
    index: int | None = None
    seconds: float | None = None
    at: str | None = None
    stamp: tuple[int, int] | None = None
    rate: float | None = None
    reading: float = 0.0

