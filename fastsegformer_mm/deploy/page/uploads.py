"""What a visitor sent: taken off the disk, looked at by content, decoded."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import decode_image
from fastsegformer_mm.utils.names import escaped

from .limits import Limits

# what OpenCV decodes too; an SVG, a PDF or an EPS is no picture here
PICTURES = ('JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF')
PICTURE_NAMES = 'JPEG, PNG, WebP, BMP or TIFF'
VIDEO_NAMES = 'MP4, MOV, WebM, MKV or AVI'

# (offset, bytes, what it is), for a message that says what was sent
SIGNATURES = (
    (0, b'MZ', 'a Windows program'),
    (0, b'\x7fELF', 'a Linux program'),
    (0, b'PK\x03\x04', 'a ZIP archive'),
    (0, b'\x1f\x8b', 'a gzip archive'),
    (0, b'%PDF', 'a PDF document'),
    (0, b'GIF8', 'a GIF'),
    (8, b'WAVE', 'a sound'),
)
PICTURE_SIGNATURES = (
    (0, b'\xff\xd8\xff'),
    (0, b'\x89PNG\r\n\x1a\n'),
    (0, b'II*\x00'),
    (0, b'MM\x00*'),
    (8, b'WEBPVP8'),
)


@dataclass(frozen=True)
class Upload:
    """A file as it was sent.

    Args:
        name (str): Its name, for messages and downloads only.
        data (bytes): Its content.
    """

    name: str
    data: bytes

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return Path(self.name).stem or 'upload'


def take(path) -> Upload:
    """Read an upload and remove it from the disk.

    Args:
        path (str | Path): Where the server has put it, in a folder of its own.

    Raises:
        DeployError: It is gone: the same file was sent twice at the same time, or
            has waited for too long.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        path.unlink()
        path.parent.rmdir()
    except FileNotFoundError as error:
        raise DeployError(
            f'{path.name} is no longer on the server; send it again'
        ) from error
    except OSError:
        pass  # another file has come into the folder
    return Upload(escaped(path.name), data)


def decode_picture(upload: Upload, limits: Limits) -> np.ndarray:
    """Decode a picture as the prediction on files does.

    Its size is read from its header first, and a truncated file is refused.

    Args:
        upload (Upload): What was sent.
        limits (Limits): Its ``megapixels`` are looked at.

    Returns:
        np.ndarray: uint8 BGR of (H, W, 3).

    Raises:
        DeployError: It is no picture, too large or broken, or one that
            :func:`~fastsegformer_mm.deploy.prediction.decode.decode_image` refuses.
    """
    name = upload.name
    if not upload.data:
        raise DeployError(f'{name} is empty; send a picture ({PICTURE_NAMES})')
    try:
        with warnings.catch_warnings():
            # the limit below is stricter
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(upload.data), formats=PICTURES)
    except Image.DecompressionBombError as error:
        raise DeployError(
            f'{name} has more than {limits.megapixels:g} megapixels, the most that '
            'this page takes; make it smaller'
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        if is_picture(upload.data):
            raise _broken(name, error) from error
        raise DeployError(
            f'{name} is {kind_of(upload.data)}, not a picture; expected {PICTURE_NAMES}'
        ) from error
    check_pixels(name, *picture.size, limits)
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise _broken(name, error) from error
    return decode_image(upload.data, name)


def _broken(name, why):
    why = str(why).splitlines()[0] if str(why) else type(why).__name__
    return DeployError(
        f'{name} is broken or cut off ({why}); send the whole file, or save it again '
        'as PNG of 8 bits a channel'
    )


def check_pixels(name: str, width: int, height: int, limits: Limits):
    """Raise a DeployError where a picture or frame has too many pixels."""
    if width * height > limits.pixels:
        raise DeployError(
            f'{name} has {width} x {height} pixels, {width * height / 1e6:.1f} '
            f'megapixels; this page takes {limits.megapixels:g} at most. Make it '
            'smaller'
        )


def is_picture(data: bytes) -> bool:
    """Whether the content begins as that of a picture."""
    return any(data.startswith(magic, at) for at, magic in PICTURE_SIGNATURES)


def is_video(data: bytes) -> bool:
    """Whether the content begins as that of a container that is taken here.

    FFmpeg would also open playlists, which name other files and addresses to read.
    """
    return (
        data[4:8] in (b'ftyp', b'moov', b'mdat', b'wide', b'free')
        or data[:4] == b'\x1aE\xdf\xa3'
        or (data[:4] == b'RIFF' and data[8:12] == b'AVI ')
    )


def kind_of(data: bytes) -> str:
    """What a content seems to be, in words for a message.

    Example:
        >>> kind_of(b'MZ\\x90')
        'a Windows program'
        >>> kind_of(b'<!DOCTYPE html>')
        'an HTML page'
    """
    if not data:
        return 'empty'
    for offset, magic, words in SIGNATURES:
        if data.startswith(magic, offset):
            return words
    if is_picture(data):
        return 'a picture (see the tab Picture)'
    if is_video(data):
        return 'a video (see the tab Video)'
    head = data[:1024].lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if head.startswith((b'<?xml', b'<svg')) and b'<svg' in head:
        return 'an SVG drawing'
    if head.startswith((b'<!doctype html', b'<html')):
        return 'an HTML page'
    try:
        # a character may be cut at the end of the head
        text = data[:1024].decode('utf-8', 'strict' if len(data) < 1024 else 'ignore')
    except UnicodeDecodeError:
        return 'unknown data'
    return 'a text' if text.isprintable() or '\n' in text else 'unknown data'
