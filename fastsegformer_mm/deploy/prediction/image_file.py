"""An image file as a source of one frame."""

import time

from .frame import Frame, read_image
from .source_file import SourceFile


class ImageFile(SourceFile):
    """An image file."""

    kind = 'image'

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
