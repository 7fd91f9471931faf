"""What the sheets of pictures are drawn with."""
import cv2
import numpy as np

from fastsegformer_mm.utils.names import escaped

from .fonts import draw_text, text_length

GAP = 8
INK = (32, 32, 32)
PAPER = (255, 255, 255)
FAINT = (110, 110, 110)
IGNORED = (255, 0, 255)
NO_CLASS = ((255, 255, 0), (0, 0, 0))


def vivid(palette):
    """Colours of full brightness and the same hue, to stand out from a photograph.

    Example:
        >>> vivid([(0, 0, 0), (128, 64, 0)])
        [(0, 0, 0), (255, 128, 0)]
    """
    return [
        tuple(round(255 * int(c) / max(*map(int, colour), 1)) for c in colour)
        for colour in palette
    ]


def class_colours(palette):
    """The colours of :func:`vivid`, or the palette itself where two become one.

    Example:
        >>> class_colours([(0, 0, 0), (128, 0, 0), (64, 0, 0)])
        [(0, 0, 0), (128, 0, 0), (64, 0, 0)]
    """
    bright = vivid(palette)
    if len(set(bright)) == len(bright):
        return bright
    return [tuple(int(c) for c in colour) for colour in palette]


def fit(image, tile):
    """The image with its longer side of ``tile`` pixels."""
    scale = tile / max(image.shape[:2])
    size = tuple(max(round(scale * side), 1) for side in image.shape[1::-1])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how)


def tint(picture, index, colours, background, opacity):
    """Picture with classes in semi-transparent colour and an opaque outline."""
    drawn = picture.copy()
    size = picture.shape[1::-1]
    for k, colour in enumerate(colours):
        if k == background or not (index == k).any():
            continue
        share = cv2.resize(
            (index == k).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        # less than a half, or thin scars would fall apart on a small picture
        inside = share >= min(0.4, 0.9 * float(share.max()))
        blend = (1 - opacity) * picture[inside] + opacity * np.array(colour)
        drawn[inside] = np.rint(blend).astype(np.uint8)
        outlines, _ = cv2.findContours(
            inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1)
    return drawn


def hatch(shape: tuple[int, int]) -> np.ndarray:
    """Where the lines of the hatching of ignored pixels are, bool of ``shape``."""
    rows, columns = np.indices(shape)
    return (rows + columns) % 8 < 2


def chequer(shape: tuple[int, int]) -> np.ndarray:
    """The pattern of values that belong to no class, RGB of ``shape``."""
    rows, columns = np.indices(shape)
    return np.array(NO_CLASS, np.uint8)[(rows // 4 + columns // 4) % 2]


def write(pen, where, words, size, room, colour=INK, bold=False):
    """A line of text, in smaller letters or cut when it would not fit."""
    words = escaped(words)
    while size > 9 and text_length(words, size, bold) > room:
        size -= 1
    if text_length(words, size, bold) > room:
        while words and text_length(f'{words}...', size, bold) > room:
            words = words[:-1]
        words = f'{words}...'
    draw_text(pen, where, words, size, colour, bold)
