"""A video that was sent, frame by frame, and one that a browser plays."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from fastsegformer_mm.deploy.errors import DeployError

from .limits import Limits
from .uploads import VIDEO_NAMES, Upload, check_pixels, is_video, kind_of

# longer side of a video that is shown, in pixels
SHOWN = 960


class VideoReader:
    """The frames of a video that was sent, within the limits.

    The content is written to a file of its own, which is all that OpenCV opens, for
    as long as the reader is open.

    Args:
        upload (Upload): What was sent.
        limits (Limits): ``megapixels``, ``seconds`` and ``frames`` are looked at,
            in the header first and again while reading.

    Raises:
        DeployError: It is no video, is broken, or too long or large.
    """

    def __init__(self, upload: Upload, limits: Limits):
        self.name = upload.name
        self.limits = limits
        if not is_video(upload.data):
            raise DeployError(
                f'{self.name} is {kind_of(upload.data)}, not a video; expected '
                f'{VIDEO_NAMES}'
            )
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / 'in'
        try:
            self._path.write_bytes(upload.data)
            self._probe()
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """Seconds from the beginning, and the frame, uint8 BGR of (H, W, 3)."""
        with self._opened() as capture:
            k = 0
            while True:
                got, frame = capture.read()
                if not got:
                    break
                k += 1
                # of the frame that was read
                seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                self._check_length(k, seconds)
                check_pixels(self.name, *frame.shape[1::-1], self.limits)
                yield seconds, frame
        if not k:
            raise DeployError(f'{self.name} has no frame that could be decoded')

    @contextmanager
    def _opened(self):
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        try:
            yield capture
        finally:
            capture.release()

    def _probe(self):
        with self._opened() as capture:
            if not capture.isOpened():
                raise DeployError(
                    f'{self.name} is broken, cut off, or in a format that OpenCV does '
                    f'not decode here; expected {VIDEO_NAMES}'
                )
            size = [
                int(capture.get(key))
                for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            ]
            check_pixels(self.name, *size, self.limits)
            rate = capture.get(cv2.CAP_PROP_FPS)
            # a recording of a browser has no number of frames in its header
            self.frames = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        self._check_length(self.frames, self.frames / rate if rate > 0 else 0)

    def _check_length(self, frames, seconds):
        if seconds > self.limits.seconds:
            raise DeployError(
                f'{self.name} is longer than {self.limits.seconds:g} seconds, the '
                'most that this page takes; cut it, or use tools/predict.py'
            )
        if frames > self.limits.frames:
            raise DeployError(
                f'{self.name} has more than {self.limits.frames} frames, the most that '
                'this page takes; cut it, or use tools/predict.py'
            )


def frame_rate(times: list[float]) -> float:
    """Frames a second by the times of the frames, 1 to 60.

    The header of a browser's recording has a rate that is not that of its frames.

    Example:
        >>> frame_rate([0.0, 0.1, 0.2])
        10.0
    """
    length = times[-1] - times[0]
    return min(max((len(times) - 1) / length, 1.0), 60.0) if length > 0 else 25.0


def shown_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a video that is shown: even, 960 pixels at most.

    Example:
        >>> shown_size(1921, 1080)
        (960, 540)
    """
    scale = min(SHOWN / max(width, height), 1)
    return tuple(max(round(scale * side / 2), 1) * 2 for side in (width, height))


class VideoWriter:
    """Writes WebM of VP8, which OpenCV's own FFmpeg can write and browsers play.

    Args:
        rate (float): Frames a second.
        size (tuple[int]): Width and height in pixels, even.

    Raises:
        DeployError: OpenCV cannot write it here.
    """

    def __init__(self, rate: float, size: tuple[int, int]):
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / 'out.webm'
        code = cv2.VideoWriter_fourcc(*'VP80')
        self._writer = cv2.VideoWriter(
            str(self._path), cv2.CAP_FFMPEG, code, rate, size
        )
        if not self._writer.isOpened():
            self._folder.cleanup()
            raise DeployError(
                'OpenCV cannot write VP8 video here, so that the page has none to '
                'show; install opencv-python from PyPI, which brings FFmpeg'
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._writer.release()
        self._folder.cleanup()

    def write(self, frame: np.ndarray):
        """Add a frame, uint8 BGR of the size."""
        self._writer.write(frame)

    def content(self) -> bytes:
        """Finish the video; what is in its file."""
        self._writer.release()
        return self._path.read_bytes()
