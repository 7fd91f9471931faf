"""What kind of file stands where a checkpoint should be."""

import json
import re
import tarfile
import zipfile
from pathlib import Path

from .errors import CheckpointError
from .write import verify_checksum

# torch's magic number, near the start of each file of before torch 1.6
LEGACY_MAGIC = bytes.fromhex('8a0a6cfc9c46f9206aa85019')
COMPRESSED = {
    b'\x1f\x8b': 'gzip',
    b'\xfd7zXZ': 'xz',
    b'BZh': 'bzip2',
    b'(\xb5/\xfd': 'zstd',
    b'7z\xbc\xaf': '7z',
    b'Rar!': 'rar',
}
AGAIN = 'download or copy it again'


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """There is no such file."""


def kind_of(path: Path, name: str, trusted: bool = False) -> str:
    """Tell how a checkpoint is written; refuse whatever is none or is damaged.

    Args:
        path (Path): The file.
        name (str): What it is called in messages: its path or URL.
        trusted (bool): Whether old TAR checkpoints, which only pickle reads, are
            let through. Defaults to False.

    Returns:
        str: 'zip' (torch.save), 'pickle' (torch.save before 1.6) or 'safetensors'.

    Raises:
        CheckpointError: Names the file, what it is instead, and the way out.
    """
    if path.is_dir():
        inside = sorted(p.name for p in path.glob('*.pth'))
        raise CheckpointError(
            f'checkpoint {name!r} is a folder: name a file in it'
            + (f', such as {", ".join(inside[-3:])}' if inside else '')
        )
    if not path.is_file():
        raise CheckpointNotFoundError(
            f'checkpoint {name!r} does not exist: give the path of a file or an '
            'http(s):// URL'
        )
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(
            f'checkpoint {name!r} is empty (0 bytes), as a full disk or a stopped '
            f'download leaves it: {AGAIN}, or take an earlier checkpoint'
        )
    with path.open('rb') as file:
        head = file.read(4096)
    if head[:4] == b'PK\x03\x04':
        _check_zip(path, name, size)
        return 'zip'
    # the length of a JSON text in eight bytes, little endian, and that text
    if re.match(rb'.{6}\0\0\s*\{\s*"', head, re.S):
        return 'safetensors'
    if tarfile.is_tarfile(path):
        # torch.load takes it for one, also with the magic number in it
        if trusted:
            return 'pickle'
    elif LEGACY_MAGIC in head[:64]:
        return 'pickle'
    raise CheckpointError(f'checkpoint {name!r} is {_other(head, path, size)}')


def _check_zip(path, name, size):
    """Whether torch.save wrote this archive, and all of it is there."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.namelist()
    except zipfile.BadZipFile:
        raise CheckpointError(
            f'checkpoint {name!r} is truncated: it begins as a file of torch.save and '
            f'stops after {size:,} bytes, without its end: {AGAIN}, or take an '
            'earlier checkpoint'
        ) from None
    if any(n.endswith('/constants.pkl') for n in inside):
        raise CheckpointError(
            f'checkpoint {name!r} is a TorchScript archive, a program and no '
            'checkpoint: give the checkpoint that it was made of'
        )
    if not any(n.endswith('/data.pkl') for n in inside):
        raise CheckpointError(
            f'checkpoint {name!r} is a ZIP archive that torch.save did not write; it '
            f'holds {some(inside, 3)}: unpack it if the checkpoint is inside'
        )
    _check_sums(path, name)


def _check_sums(path, name):
    damaged = (
        f'checkpoint {name!r} is damaged: {{}}. {AGAIN.capitalize()}, or take an '
        'earlier checkpoint'
    )
    sound = verify_checksum(path)
    if sound is None:
        # torch.load compares no CRC
        try:
            with zipfile.ZipFile(path) as archive:
                bad = archive.testzip()
        except Exception as error:  # zipfile raises many types on damage
            raise CheckpointError(damaged.format(error)) from error
        if bad:
            raise CheckpointError(
                damaged.format(f'the CRC of its part {bad} does not match')
            )
    elif not sound:
        raise CheckpointError(
            damaged.format('its content does not match the SHA-256 written with it')
        )


def _other(head, path, size):
    """What a file is that is no checkpoint, and the way out."""
    text = _text(head)
    if text is None:
        for magic, kind in COMPRESSED.items():
            if head.startswith(magic):
                return f'compressed by {kind}: unpack it'
        if tarfile.is_tarfile(path):
            return (
                'a TAR archive, as torch.save wrote before torch 0.2; only pickle '
                'reads that: unpack it if the checkpoint is inside, or save it anew '
                'with a newer torch'
            )
        if head[:1] == b'\x80':
            return (
                'a pickle that torch.save did not write: give a file of torch.save or '
                'safetensors'
            )
        return (
            f'of no known kind ({size:,} bytes that begin with {head[:8].hex(" ")}): '
            'give a file of torch.save or safetensors'
        )
    if text.startswith('version https://git-lfs'):
        found = re.search(r'^size (\d+)', text, re.M)
        whole = f' of {int(found[1]):,} bytes' if found else ''
        return (
            f'a Git LFS pointer ({size:,} bytes) and not the file{whole} itself: '
            'run `git lfs pull`, or download the file'
        )
    if re.search(r'<!doctype html|<html|<head|<body', text, re.I):
        found = re.search(r'<title[^>]*>\s*(.*?)\s*</title', text, re.I | re.S)
        title = f' ({found[1][:80]!r})' if found else ''
        return (
            f'an HTML page{title}, such as a login or not-found page saved under this '
            'name: download the file itself, by its direct link'
        )
    if text.lstrip()[:1] in ('{', '['):
        return (
            f'a JSON text that begins with {_start(text)}: give the file that it '
            'describes'
        )
    return (
        f'a text that begins with {_start(text)}: give a file of torch.save or '
        'safetensors'
    )


def _text(head):
    """The head as text; None if it is not one."""
    try:
        # the last character may be cut
        text = head.decode('utf-8', 'strict' if len(head) < 4096 else 'ignore')
    except UnicodeDecodeError:
        return None
    return None if re.search(r'[\x00-\x08\x0e-\x1f]', text) else text


def _start(text):
    return json.dumps(text.strip()[:40], ensure_ascii=False)


def some(names, limit=10) -> str:
    """The first few of many names, and how many more there are."""
    names = list(names)
    rest = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(str(n) for n in names[:limit]) + rest
