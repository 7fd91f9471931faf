"""Whose fault it is that a file was not predicted on: its own, or the machine's."""

import contextlib
import errno
import os

from ..errors import DeployError, FrameError

# in reading: the next file would fail in the same way
BROKEN = {
    getattr(errno, name, None)
    for name in (
        'ECONNABORTED',
        'ECONNREFUSED',
        'ECONNRESET',
        'EHOSTDOWN',
        'EHOSTUNREACH',
        'EMFILE',
        'ENETDOWN',
        'ENETRESET',
        'ENETUNREACH',
        'ENFILE',
        'ENOBUFS',
        'ENODEV',
        'ENOMEM',
        'ENOTCONN',
        'ETIMEDOUT',
    )
}
# in reading: this file alone
OF_A_FILE = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.EPERM,
}
# in writing: of the name that a file is to get, or of what is in its place
OF_A_NAME = {
    errno.EEXIST,
    errno.EILSEQ,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
}


class InputError(DeployError):
    """An input that the run goes on without.

    Args:
        origin (str): Its name in the records.
        reason (str): What is wrong with it.
        doubtful (bool): Whether the fault may be the machine's or the model's, so
            that several in a row end the run. Defaults to False, it is the input's.
    """

    def __init__(self, origin: str, reason: str, doubtful: bool = False):
        super().__init__(f'{origin}: {reason}')
        self.origin = origin
        self.reason = reason
        self.doubtful = doubtful


def reading_failed(error: OSError, path, origin: str) -> InputError:
    """The error of a file that the system does not read.

    Args:
        error (OSError): Of the system.
        path (str | Path): The file.
        origin (str): Its name in the records.

    Raises:
        OSError: The same one, where it is not the file's fault.
    """
    if error.errno in BROKEN:
        raise error
    own = error.errno in OF_A_FILE
    if error.errno == errno.ENOENT:
        # with its folder a whole disk or share may be gone
        own = os.path.isdir(os.path.dirname(path) or '.')
    return InputError(origin, error.strerror or str(error), doubtful=not own)


def writing_failed(error: OSError, name: str, origin: str) -> InputError:
    """The error of an output whose name the file system does not take.

    Args:
        error (OSError): Of the system.
        name (str): The output, from the folder of all.
        origin (str): Name of its input in the records.

    Raises:
        OSError: The same one, where it is not the name's fault: a full disk, a
            folder that must not be written to.
    """
    if error.errno not in OF_A_NAME:
        raise error
    return InputError(
        origin,
        f'its output {name} cannot be written ({error.strerror or error}); rename the '
        'input, or what is in the place of the output',
        doubtful=True,
    )


@contextlib.contextmanager
def fault_of(origin: str):
    """Turn what goes wrong with one frame into the :class:`InputError` of its file.

    Errors of the system, the model and the options stay as they are: they would
    come again with the next frame.

    Args:
        origin (str): Name of the file in the records.

    Raises:
        InputError: Anything else; doubtful where no rule of ours was broken.
    """
    try:
        yield
    except FrameError as error:
        raise InputError(origin, str(error)) from error
    except (DeployError, OSError):
        raise
    except Exception as error:
        line = ' '.join(str(error).split())
        raise InputError(
            origin, f'{type(error).__name__}: {line}'.rstrip(': '), doubtful=True
        ) from error
