"""The pictures of an HTML report, as data to be inlined."""
import base64
import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fastsegformer_mm.utils.background import background_class
from fastsegformer_mm.visualization.drawing import (
    IGNORED,
    chequer,
    fit,
    hatch,
    tint,
)

from .report import DatasetReport, SplitSummary

SUFFIXES = {'.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp'}


class Partners:
    """Finds the label of an image and the image of a label.

    Problems name one file. Where the other one is, is learnt from the sound pairs.

    Args:
        report (DatasetReport): Its ``samples`` are looked at.

    Example:
        >>> summary = SplitSummary('train', samples=[('img/a.jpg', 'ann/a.png')])
        >>> partners = Partners(DatasetReport('c.py', {'train': summary}))
        >>> partners.pair('img/b.jpg')
        ('img/b.jpg', 'ann/b.png')
        >>> partners.pair('ann/sub/b.png')
        ('img/sub/b.jpg', 'ann/sub/b.png')
        >>> partners.pair('elsewhere/b.jpg')
        ('elsewhere/b.jpg', None)
    """

    def __init__(self, report: DatasetReport) -> None:
        self._patterns = {
            name: list(dict.fromkeys(_pattern(*pair) for pair in summary.samples))
            for name, summary in report.splits.items()}

    def pair(self, file: str, split: str = '') -> tuple[str, str | None]:
        """Image and label of a file that is one of them; None for an unknown.

        Args:
            file (str): Image or label.
            split (str): Whose patterns are tried first, before those of the others.
        """
        ordered = sorted(self._patterns, key=lambda name: name != split)
        for name in ordered:
            for (image_start, image_end), (label_start, label_end) in (
                    self._patterns[name]):
                stem = _between(file, image_start, image_end)
                if stem is not None:
                    return file, label_start + stem + label_end
                stem = _between(file, label_start, label_end)
                if stem is not None:
                    return image_start + stem + image_end, file
        return file, None


def mentioned_file(text: str) -> str | None:
    """The picture that a sentence names, as 'the same picture as img/a b.jpg'.

    Example:
        >>> mentioned_file('the same picture as no/such/file.jpg') is None
        True
    """
    words = text.split(' ')
    for start in range(len(words)):
        for end in range(len(words), start, -1):
            name = ' '.join(words[start:end]).rstrip(',')
            if is_picture(name) and Path(name).is_file():
                return name
    return None


def is_picture(file: str) -> bool:
    """Whether a name is that of an image or label."""
    return Path(file).suffix.lower() in SUFFIXES


def _pattern(image, label):
    """What stands before and after the part that names of a pair share."""
    image_folder, label_folder = Path(image).parent, Path(label).parent
    a, b = Path(image).name, Path(label).name
    shared = 0
    while shared < min(len(a), len(b)) and a[shared] == b[shared]:
        shared += 1
    # 'x.png' and 'x.png': the suffix is no part of the name
    if a[shared:] == b[shared:]:
        shared = len(a) - len(Path(a).suffix)
    # 'x.jpg' and 'x.png' share the dot
    shared = shared - 1 if shared and a[shared - 1] == '.' else shared
    # subfolders that both have are part of the name
    image_parts, label_parts = image_folder.parts, label_folder.parts
    while (image_parts[:-1] and label_parts[:-1]
           and image_parts[-1] == label_parts[-1] and image_parts != label_parts):
        image_parts, label_parts = image_parts[:-1], label_parts[:-1]
    starts = (Path(*parts).as_posix() + '/' if parts else ''
              for parts in (image_parts, label_parts))
    return tuple(zip(starts, (a[shared:], b[shared:])))


def _between(file, start, end):
    file = Path(file).as_posix()
    fits = file.startswith(start) and file.endswith(end)
    return file[len(start):len(file) - len(end)] if fits else None


def photo_thumbnail(path: str | Path, side: int) -> dict:
    """An image of at most ``side`` x ``side`` pixels.

    Returns:
        dict: 'data', a data URI, or '' if the file cannot be read, and 'words', what
        is to be said about it.
    """
    def draw():
        with Image.open(path) as image:
            words = f'{image.height}x{image.width} {image.mode}'
            # a JPEG needs not be decoded at full size
            image.draft(None, (2 * side, 2 * side))
            pixels = _eight_bits(image)
        return _jpeg(fit(pixels, min(side, max(pixels.shape[:2])))), words
    return _picture(path, draw)


def mask_thumbnail(path: str | Path, side: int, summary: SplitSummary,
                   colours: list) -> dict:
    """A label of at most ``side`` x ``side`` pixels, in the colours of the classes.

    Ignored pixels are hatched, values of no class chequered; a label in colours is
    shown as it is.

    Returns:
        dict: As of :func:`photo_thumbnail`; the words say which values it has.
    """
    def draw():
        with Image.open(path) as image:
            words = f'{image.height}x{image.width} {image.mode}'
            if image.mode not in ('1', 'L', 'P', 'I', 'I;16'):
                pixels = _eight_bits(image)
                return _png(fit(pixels, min(side, max(pixels.shape[:2])))), words
            label = np.asarray(image).astype(np.int64)
        values = np.unique(label)
        shown = ', '.join(map(str, values[:8])) + (', ...' if len(values) > 8 else '')
        scale = min(side / max(label.shape), 1)
        size = tuple(max(round(scale * s), 1) for s in label.shape[::-1])
        small = cv2.resize(
            label.astype(np.int32), size, interpolation=cv2.INTER_NEAREST_EXACT)
        small = coloured(summary.classes_of(small), colours, summary.ignore_index)
        return _png(small), f'{words}, values {shown}'
    return _picture(path, draw)


def coloured(label: np.ndarray, colours: list, ignore_index: int) -> np.ndarray:
    """Class indices (H, W) as uint8 RGB (H, W, 3)."""
    drawn = chequer(label.shape)
    for k, colour in enumerate(colours):
        drawn[label == k] = colour
    ignored = label == ignore_index
    drawn[ignored] = 160
    drawn[ignored & hatch(label.shape)] = IGNORED
    return drawn


def overlay(image: str | Path, label: str | Path, side: int, summary: SplitSummary,
            colours: list) -> dict:
    """An image with its label laid over.

    Returns:
        dict: As of :func:`photo_thumbnail`; the words are the classes that occur.
    """
    def draw():
        with Image.open(image) as opened:
            picture = fit(_eight_bits(opened), side)
        with Image.open(label) as opened:
            index = np.asarray(opened).astype(np.int64)
        if index.ndim != 2:
            raise ValueError(f'a label of shape {index.shape}')
        index = summary.classes_of(index)
        background = background_class(summary.classes, summary.background)
        picture = tint(picture, index, colours, background, 0.35)
        ignored = cv2.resize((index == summary.ignore_index).astype(np.uint8),
                             picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        picture[ignored & hatch(picture.shape[:2])] = IGNORED
        found = [str(name) for k, name in enumerate(summary.classes)
                 if (index == k).any()]
        return _jpeg(picture), ', '.join(found)
    return _picture(label, draw)


def _picture(path, draw):
    try:
        data, words = draw()
    # Pillow raises whatever its decoders happen to; a broken file is what the
    # report is about and must not break it
    except Exception as error:
        data, words = '', f'cannot be read: {error}'
        if isinstance(error, FileNotFoundError):
            words = 'no such file'
        elif isinstance(error, UnidentifiedImageError):
            words = 'not an image'
    return {'data': data, 'words': words, 'name': Path(path).name}


def _eight_bits(image):
    """An open image as uint8 RGB (H, W, 3)."""
    if image.mode.startswith('I') or image.mode == 'F':
        # stretched, as sixteen bits are seldom used to the full
        pixels = np.asarray(image).astype(np.float64)
        low, high = pixels.min(), pixels.max()
        grey = 255 * (pixels - low) / max(high - low, 1)
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert('RGB'))


def _jpeg(pixels):
    return _inline(pixels, 'JPEG', quality=82)


def _png(pixels):
    return _inline(pixels, 'PNG', optimize=True)


def _inline(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, kind, **options)
    text = base64.b64encode(buffer.getvalue()).decode('ascii')
    return f'data:image/{kind.lower()};base64,{text}'
