"""An image file as a source of one frame."""

import time

from .decode import read_image
from .frame import Frame
from .input_error import fault_of
from .source_file import SourceFile


class ImageFile(SourceFile):
    """An image file."""

    kind = 'image'

    def read(self, depth: int | None = None) -> Frame:
        """The frame.

        Args:
            depth (int, optional): Bits in use of 16-bit files. Defaults to None,
                they are refused.

        Raises:
            InputError: It cannot be read.
            OSError: The connection to the file system is lost.
        """
        start = time.perf_counter()
        # before reading: a change meanwhile makes the next run read it again
        stamp = self.stamp()
        with fault_of(self.origin):
            image = read_image(self.path, self.origin, depth)
        return Frame(
            image,
            self.origin,
            self.name,
            stamp=stamp,
            reading=time.perf_counter() - start,
        )
