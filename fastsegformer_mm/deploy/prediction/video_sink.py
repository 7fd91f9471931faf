"""A video being written."""

import contextlib
import errno
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

# OpenCV's writer does not say when the disk is full
LEAST_FREE = 32 << 20
LOOK_EVERY = 50


class VideoSink:
    """Writes frames into a file that gets its name when it is complete.

    Codecs want even sizes: where a side is odd, one row or column is added, in a
    mask of 255, in a picture as black.

    Args:
        path (Path): The file: .mp4 or .mkv.
        rate (float): Frames a second.
        size (tuple[int]): Height and width of the frames.
        mask (bool): Whether they are uint8 (H, W), written without loss (FFV1), or
            else BGR pictures, by MPEG-4. Defaults to False.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int], mask=False):
        self.path, self.size, self.count = Path(path), size, 0
        # the end tells FFmpeg the container
        self._temporary = self.path.with_name(f'.{self.path.stem}.tmp{path.suffix}')
        self._odd = tuple(side % 2 for side in size)
        self._value = 255 if mask else 0
        # says why, where the name or the folder is at fault; OpenCV does not
        self._temporary.touch()
        even = (size[1] + self._odd[1], size[0] + self._odd[0])
        self._writer = cv2.VideoWriter(
            str(self._temporary),
            cv2.CAP_FFMPEG,
            cv2.VideoWriter_fourcc(*('FFV1' if mask else 'mp4v')),
            # MPEG-4 has no room for thousandths above 65
            round(rate, 2),
            even,
            not mask,
        )
        if not self._writer.isOpened():
            self._temporary.unlink()
            raise OSError(
                errno.EIO, 'cannot be opened as a video for writing', str(self.path)
            )

    def write(self, frame: np.ndarray) -> None:
        """Add a frame of the given size.

        Raises:
            OSError: The disk is full.
        """
        if any(self._odd):
            down, right = self._odd
            frame = cv2.copyMakeBorder(
                frame, 0, down, 0, right, cv2.BORDER_CONSTANT, value=[self._value] * 3
            )
        if self.count % LOOK_EVERY == 0:
            free = shutil.disk_usage(self.path.parent).free
            if free < LEAST_FREE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        self._writer.write(frame)
        self.count += 1

    def close(self) -> None:
        """Write what a player needs, look whether all is there, give it its name.

        Raises:
            OSError: Frames are missing in it.
        """
        self._writer.release()
        written = 0
        capture = cv2.VideoCapture(str(self._temporary), cv2.CAP_FFMPEG)
        if capture.isOpened():
            written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        # Matroska's is reckoned from its length
        if abs(written - self.count) > 1:
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)
            raise OSError(
                errno.EIO,
                f'only {written} of {self.count} frames could be written',
                str(self.path),
            )
        os.replace(self._temporary, self.path)
