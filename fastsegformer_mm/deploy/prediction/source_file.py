"""A file that frames are read from."""

import os
from dataclasses import dataclass

from .frame import ReadError


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
            ReadError: The file has gone.
        """
        try:
            stat = os.stat(self.path)
        except OSError as error:
            raise ReadError(self.origin, error.strerror or str(error)) from error
        return stat.st_size, stat.st_mtime_ns
