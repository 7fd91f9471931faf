"""The content of an image file as a frame, or why it is none."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import (
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from .input_error import InputError, reading_failed

# the depth as it is in the file; of 8 bits all is as MMSegmentation's loader has it
FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
# formats that may hold several pictures, by their first bytes
OF_MANY = {
    b'II': TiffImagePlugin.TiffImageFile,
    b'MM': TiffImagePlugin.TiffImageFile,
    b'\x89P': PngImagePlugin.PngImageFile,
    b'RI': WebPImagePlugin.WebPImageFile,
    b'GI': GifImagePlugin.GifImageFile,
}
# TIFF's tag of what a page is, and its bits for thumbnails and transparency
KIND, NO_PAGE = 254, 0b101


def read_image(path, origin: str | None = None, depth: int | None = None):
    """An image file as a frame; see :func:`decode_image`.

    Args:
        path (str | Path): The file.
        origin (str, optional): What errors call it. Defaults to None, ``path``.
        depth (int, optional): Bits in use of 16-bit files. Defaults to None.

    Returns:
        np.ndarray: uint8 BGR of (H, W, 3).

    Raises:
        InputError: There is no such file, or no such image in it.
        OSError: The connection to the file system is lost.
    """
    origin = origin or str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise reading_failed(error, path, origin) from error
    return decode_image(content, origin, depth)


def decode_image(
    content: bytes, origin: str, depth: int | None = None
) -> np.ndarray:
    """The content of an image file as MMSegmentation's loader has it.

    It is turned as EXIF says, grey becomes three equal channels, alpha is dropped,
    CMYK becomes RGB without a profile. Refused is what the loader would make
    something else of without a word: files of more than 8 bits a channel unless
    ``depth`` says what their values mean, of several pages or frames, and JPEGs that
    were cut off.

    Args:
        content (bytes): Of the file.
        origin (str): What errors call it.
        depth (int, optional): Bits in use of 16-bit files, 9 to 16: of 12, 4095 is
            white. With 16 they are what the loader has in a training. Defaults to
            None: such files are refused.

    Returns:
        np.ndarray: uint8 BGR of (H, W, 3).

    Raises:
        InputError: It is no such image.
    """
    if not content:
        raise InputError(origin, 'the file is empty')
    pages = _pages(content)
    if pages > 1:
        raise InputError(
            origin,
            f'{pages} pages or frames in one file; expected one: save each in a file '
            'of its own, or an animation as a video',
        )
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), FLAGS)
    except (cv2.error, MemoryError) as error:
        line = ' '.join(str(error).split())
        if 'CV_IO_MAX_IMAGE' in line:
            line = (
                'more pixels than OpenCV reads (2^30 in all, 2^20 a side); cut it into '
                'tiles'
            )
        raise InputError(origin, f'cannot be decoded: {line}') from error
    if image is None or _cut_off(content):
        raise InputError(
            origin, f'{len(content):,} bytes that are no whole image of a known format'
        )
    return _eight_bits(image, origin, depth)


def _eight_bits(image, origin, depth):
    if image.dtype == np.uint8:
        return image
    low, high = image.min(), image.max()
    if image.dtype != np.uint16:
        raise InputError(
            origin,
            f'{image.dtype} values, {low:.6g} to {high:.6g}; expected 8 bits a channel:'
            ' scale them to 0 to 255, all images alike, and save them so',
        )
    if depth is None:
        raise InputError(
            origin,
            f'16 bits a channel, values {low} to {high}; expected 8, since no file '
            'says how many bits are in use: predict.py is told by --depth (12: 4095 is '
            'white; 16: as in a training)',
        )
    if high >> depth:
        raise InputError(
            origin,
            f'values up to {high}; expected {(1 << depth) - 1} at most with --depth '
            f'{depth}',
        )
    return (image >> (depth - 8)).astype(np.uint8)


def _cut_off(content):
    """Whether a JPEG is cut off, which OpenCV 4 fills up with grey."""
    if not content.startswith(b'\xff\xd8'):
        return False
    if content.rstrip(b'\0').endswith(b'\xff\xd9'):
        return False
    # what follows the end mark may be a film of the same moment
    try:
        JpegImagePlugin.JpegImageFile(io.BytesIO(content)).load()
    except (OSError, SyntaxError, ValueError):
        return True
    return False


def _pages(content):
    """How many pictures are in a file; of a TIFF without thumbnails and masks."""
    kind = OF_MANY.get(content[:2])
    if kind is None:
        return 1
    try:
        image = kind(io.BytesIO(content))
        count = getattr(image, 'n_frames', 1)
        if count == 1 or kind is not TiffImagePlugin.TiffImageFile:
            return count
        found = 0
        for page in range(count):
            image.seek(page)
            found += not image.tag_v2.get(KIND, 0) & NO_PAGE
        return found
    except (OSError, SyntaxError, ValueError, KeyError):
        # broken, or not known to Pillow: OpenCV will tell
        return 1
