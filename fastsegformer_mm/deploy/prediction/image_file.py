"""An image file as a source of one frame."""

import os
import time
from dataclasses import dataclass

from .frame import Frame, ReadError, read_image


@dataclass(frozen=True)
class ImageFile:
    """An image file.

    Args:
        name (str): Where its outputs lie, without folder and suffix.
        origin (str): Its name in the records.
        path (str): The file.
    """

    name: str
    origin: str
    path: str
    kind = 'image'

    def stamp(self) -> tuple[int, int]:
        """Bytes and time of the last change in nanoseconds.

        Raises:
            ReadError: The file has gone.
        """
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise ReadError(self.origin, error.strerror or str(error)) from error
        return stat.st_size, stat.st_mtime_ns

    def read(self) -> Frame:
        """The frame.

        Raises:
            ReadError: It cannot be read.
        """
        start = time.perf_counter()
        # before reading: a change meanwhile makes the next run read it again
        stamp = self.stamp()
        image = read_image(self.path, self.origin)
        return Frame(
            image,
            self.origin,
            self.name,
            stamp=stamp,
            reading=time.perf_counter() - start,
        )
