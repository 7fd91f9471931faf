"""A file that frames are read from."""

import os
import stat
from dataclasses import dataclass

from .input_error import InputError, reading_failed


@dataclass(frozen=True)
class SourceFile:
    """A file among the inputs.

    Args:
        name (str): Where its outputs lie, without folder and suffix.
        origin (str): Its name in the records.
        path (str): The file.
    """

    name: str
    origin: str
    path: str

    def stamp(self) -> tuple[int, int]:
        """Bytes and time of the last change in nanoseconds.

        Raises:
            InputError: The file has gone, or is a pipe or device.
            OSError: The connection to the file system is lost.
        """
        try:
            found = os.stat(self.path)
        except OSError as error:
            raise reading_failed(error, self.path, self.origin) from error
        # to open a pipe would wait for its writer
        if not stat.S_ISREG(found.st_mode):
            raise InputError(self.origin, 'no file, but a folder, pipe or device')
        return found.st_size, found.st_mtime_ns
