"""Files that are there as a whole or not at all, checkpoints with a checksum.

A file is written beside its place under a temporary name, brought to the disk and
only then given its name, so that a kill, a full disk or a power cut at any moment
leaves the file that was there before. A checkpoint also carries the SHA-256 of the
archive as ``torch.save`` made it: bits that turn later, on the disk or on the way
between machines, are found before they are trained on. It stands in the comment at
the end of the ZIP archive, where ``torch.load`` and unzip do not mind it.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch

from .errors import CheckpointError

_TEMPORARY = re.compile(r'\.(?P<name>.+)\.(?P<pid>\d+)\.tmp')

# the record that ends a ZIP archive: this, 16 bytes, the length of the comment in
# two bytes (little endian), the comment
_END = b'PK\x05\x06'
_END_SIZE = 22
_PREFIX = b'sha256:'
_COMMENT_SIZE = len(_PREFIX) + 2 * hashlib.sha256().digest_size
# where the comment may be even if something has been appended
_TAIL = 1 << 16
_CHUNK = 1 << 20


class CheckpointWriteError(CheckpointError, OSError):
    """A file cannot be written; the one that was there before is as it was."""


def write_checkpoint(content: dict, path) -> Path:
    """Save a checkpoint with its checksum, as a whole or not at all.

    Args:
        content (dict): What ``torch.save`` takes.
        path (str | Path): The file to write or to replace; its folder is made.

    Returns:
        Path: ``path``.

    Raises:
        CheckpointWriteError: It cannot be written, as on a full disk.

    Example:
        >>> write_checkpoint({'state_dict': {'w': torch.ones(2)}}, '/tmp/student.pth')
        PosixPath('/tmp/student.pth')
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return replace_file(path, pieces_with_checksum(buffer.getbuffer()))


def with_checksum(data: bytes) -> bytes:
    """A checkpoint's bytes with their SHA-256 in the archive's comment.

    Args:
        data (bytes): Any file; what is not a ZIP archive of ``torch.save``, or has
            a comment already, is given back unchanged.
    """
    return b''.join(pieces_with_checksum(data))


def pieces_with_checksum(data) -> list:
    """Same as :func:`with_checksum`, without copying what may be gigabytes."""
    if not is_torch_archive(data):
        return [data]
    comment = _PREFIX + hashlib.sha256(data).hexdigest().encode()
    return [memoryview(data)[:-2], len(comment).to_bytes(2, 'little'), comment]


def is_torch_archive(data) -> bool:
    """Whether these bytes are what ``torch.save`` makes, with no comment yet."""
    head, end = bytes(data[:256]), bytes(data[-_END_SIZE:])
    return (
        head.startswith(b'PK\x03\x04')
        and b'/data.pkl' in head
        and end.startswith(_END)
        and end.endswith(b'\0\0')
    )


def verify_checksum(path) -> bool | None:
    """Whether a file is as it was written.

    Args:
        path (str | Path): Any file.

    Returns:
        bool | None: False where bits have turned, or bytes are missing after the
        archive proper; None for a file without a checksum, whoever wrote it.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(-min(size, _TAIL), os.SEEK_END)
        tail = file.read()
        start = tail.rfind(_END)
        if start < 0 or len(tail) < start + _END_SIZE:
            return None
        end = start + _END_SIZE
        length = int.from_bytes(tail[end - 2 : end], 'little')
        comment = tail[end:]
        if length != _COMMENT_SIZE and not comment.startswith(_PREFIX):
            return None
        if length != len(comment) or not comment.startswith(_PREFIX):
            return False
        # the archive without comment, as torch.save made it
        rest = size - _COMMENT_SIZE - 2
        digest = hashlib.sha256()
        file.seek(0)
        while rest:
            chunk = file.read(min(rest, _CHUNK))
            if not chunk:
                return False
            digest.update(chunk)
            rest -= len(chunk)
        digest.update(b'\0\0')
    return comment == _PREFIX + digest.hexdigest().encode()


def replace_file(path, pieces: Iterable, sync: bool = True) -> Path:
    """Write a file under a temporary name, then give it its own.

    Args:
        path (str | Path): The file to write or to replace; its folder is made. A
            symbolic link stays one, the file that it names is replaced.
        pieces (Iterable[bytes-like]): Its content.
        sync (bool): Wait until it is on the disk, so that a power cut does no more
            harm than a kill. Defaults to True.

    Returns:
        Path: ``path``.

    Raises:
        CheckpointWriteError: It cannot be written. What was there before is as it
            was, nothing else is left.
    """
    pieces = [memoryview(piece) for piece in pieces]
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f'.{target.name}.{os.getpid()}.tmp')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            # /dev/stdout, a pipe: nothing that could be replaced
            with open(target, 'wb') as file:
                file.writelines(pieces)
            return Path(path)
        with open(temporary, 'wb') as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
        if sync:
            _sync_folder(target.parent)
    except OSError as error:
        _remove(temporary)
        size = sum(piece.nbytes for piece in pieces)
        raise _explain(error, target, size) from error
    except BaseException:
        _remove(temporary)
        raise
    return Path(path)


def remove_leftovers(folder) -> list[Path]:
    """Remove the temporary files that killed processes have left in a folder.

    Those of other processes that are alive stay: they are being written.

    Returns:
        list[Path]: The files removed.
    """
    removed = []
    for path in sorted(Path(folder).glob('.*.tmp')):
        match = _TEMPORARY.fullmatch(path.name)
        if match and path.is_file() and not _alive(int(match['pid'])):
            _remove(path)
            removed.append(path)
    return removed


def _alive(pid: int) -> bool:
    # a process that asks is not writing: in a container the killed one had the
    # same number, mostly 1
    if pid == os.getpid():
        return False
    if os.name != 'posix':  # where signal 0 is none that only asks
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OverflowError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Bring the new name to the disk, where folders can be synchronised at all."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _explain(error: OSError, path: Path, size: int) -> CheckpointWriteError:
    free = ''
    with contextlib.suppress(OSError):
        free = f', {shutil.disk_usage(path.parent).free:,} are free'
    there = path.exists()
    before = 'the file of that name is as it was' if there else 'nothing is left of it'
    explained = CheckpointWriteError(
        f'cannot write {path}: {error.strerror or error}; {size:,} bytes are needed'
        f'{free}. Earlier checkpoints stay, {before}: free some space (or set '
        'another work_dir, fewer max_keep_ckpts) and resume'
    )
    explained.errno = error.errno
    return explained
