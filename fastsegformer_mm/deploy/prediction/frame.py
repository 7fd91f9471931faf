"""One picture on its way through a prediction, and why one may not be had."""

from dataclasses import dataclass
from pathlib import Path

import mmcv
import numpy as np

from ..errors import DeployError


class ReadError(DeployError):
    """A file or stream that cannot be read; the run goes on without it.

    Args:
        origin (str): Its name in the records.
        reason (str): What is wrong with it.
    """

    def __init__(self, origin: str, reason: str):
        super().__init__(f'{origin}: {reason}')
        self.origin = origin
        self.reason = reason


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


def read_image(path, origin: str | None = None) -> np.ndarray:
    """An image file as MMSegmentation's loader has it: uint8 BGR of (H, W, 3).

    It is turned as EXIF says, grey becomes three equal channels, alpha is dropped,
    16 bits become 8.

    Args:
        path (str | Path): The file.
        origin (str, optional): What errors call it. Defaults to None, ``path``.

    Raises:
        ReadError: There is no such file, or nothing that can be decoded in it.
    """
    origin = origin or str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ReadError(origin, error.strerror or str(error)) from error
    if not content:
        raise ReadError(origin, 'the file is empty')
    try:
        image = mmcv.imfrombytes(content, flag='color', backend='cv2')
    except Exception as error:
        # OpenCV's own, of sizes beyond its limit among others
        line = ' '.join(str(error).split())
        raise ReadError(origin, f'cannot be decoded: {line}') from error
    if image is None:
        raise ReadError(
            origin, f'{len(content):,} bytes that are no whole image of a known format'
        )
    return image
