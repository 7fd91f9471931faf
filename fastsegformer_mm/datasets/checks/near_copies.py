"""Copies of a picture that were turned, mirrored or saved again.

Data sets are often enlarged by turned copies before they are split; then most of the
test images have been trained on, with other bytes and other pixels.
"""
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np

SIDE = 32  # of a fingerprint
BLUR = 4.0  # pixels of a fingerprint; what is coarser is light, not the picture
ALIKE = 0.95  # the likeness of copies; see find_near_copies
FLAT = 1.0  # grey levels of 255; below it, there is nothing to recognise
ROWS = 2048  # compared at once, which bounds the memory

TURNS = ('', 'turned by 90 degrees', 'turned by 180 degrees', 'turned by 270 degrees')


class NearCopy(NamedTuple):
    """A picture that is another one.

    Args:
        index (int): Of the picture.
        original (int): Of the one that it is a copy of.
        how (str): 'saved again', 'mirrored', 'turned by 90 degrees' (against the
            clock), 'mirrored and turned by 90 degrees', ...
        likeness (float): Correlation of the two fingerprints, at most 1.
    """

    index: int
    original: int
    how: str
    likeness: float


def fingerprint(image: np.ndarray) -> np.ndarray | None:
    """What of a picture outlasts turning, JPEG and other sizes.

    Args:
        image (np.ndarray): Pixels (H, W) or (H, W, C) of any type.

    Returns:
        np.ndarray, optional: The picture in grey, of SIDE x SIDE pixels, without
        its slow changes of light, float16, of mean 0 and length 1. None for a
        picture without anything to recognise.

    Example:
        >>> fingerprint(np.zeros((48, 64, 3), np.uint8)) is None
        True
    """
    scale = np.iinfo(image.dtype).max if image.dtype.kind in 'iu' else 255.0
    small = cv2.resize(
        image.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    grey = small if small.ndim == 2 else small.mean(2)
    fine = grey - cv2.GaussianBlur(grey, (0, 0), BLUR)
    fine -= fine.mean()
    if fine.std() * 255 / scale < FLAT:
        return None
    return (fine / np.linalg.norm(fine)).astype(np.float16)


def find_near_copies(pictures: Sequence[np.ndarray | None],
                     originals: Sequence[np.ndarray | None]) -> Iterator[NearCopy]:
    """Which pictures are copies of an original.

    Different pictures of one camera reach a likeness of 0.7 (NEU-Seg) to 0.83 (navel
    oranges), copies more than 0.97 (measured on NEU-Seg).

    Args:
        pictures (Sequence[np.ndarray, optional]): Fingerprints of those to look at.
        originals (Sequence[np.ndarray, optional]): Those of which they may be copies.

    Yields:
        NearCopy: The best original of each picture that has one, in their order.
    """
    mine = [i for i, p in enumerate(pictures) if p is not None]
    theirs = [i for i, p in enumerate(originals) if p is not None]
    if not mine or not theirs:
        return
    best = np.full(len(mine), ALIKE, np.float32)
    found: dict[int, NearCopy] = {}
    for start in range(0, len(theirs), ROWS):
        rows = theirs[start:start + ROWS]
        table = np.stack([originals[i] for i in rows]).reshape(len(rows), -1)
        table = table.astype(np.float32).T
        for first in range(0, len(mine), ROWS):
            part = slice(first, first + ROWS)
            block = np.stack([pictures[i] for i in mine[part]]).astype(np.float32)
            for how, turned in _orientations(block):
                likeness = turned.reshape(len(block), -1) @ table
                which = likeness.argmax(1)
                value = likeness[np.arange(len(block)), which]
                for k in np.flatnonzero(value > best[part]):
                    best[first + k] = value[k]
                    found[first + k] = NearCopy(
                        mine[first + k], rows[which[k]], how, float(value[k]))
    for k in sorted(found):
        yield found[k]


def groups_of_copies(pictures: Sequence[np.ndarray | None]) -> list[int]:
    """Which pictures are copies of each other, to be kept in one split.

    Args:
        pictures (Sequence[np.ndarray, optional]): Fingerprints.

    Returns:
        list[int]: Of each picture, the index of the first of its group; of one
        without copies, its own.
    """
    group = list(range(len(pictures)))

    def first_of(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    known = [i for i, p in enumerate(pictures) if p is not None]
    if not known:
        return group
    table = np.stack([pictures[i] for i in known]).astype(np.float32)
    columns = table.reshape(len(known), -1).T
    for start in range(0, len(known), ROWS):
        block = table[start:start + ROWS]
        for _, turned in _orientations(block):
            alike = turned.reshape(len(block), -1) @ columns > ALIKE
            for row, column in np.argwhere(alike):
                a, b = first_of(known[start + row]), first_of(known[column])
                group[max(a, b)] = min(a, b)
    return [first_of(i) for i in group]


def _orientations(block: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The eight ways to lay a square, and what leads from them back to it."""
    for quarter in range(4):
        back = TURNS[-quarter % 4]
        yield back or 'saved again', np.rot90(block, quarter, (1, 2))
    for quarter, turn in enumerate(TURNS):
        # to mirror first and turn back is to turn and mirror
        words = ' and '.join(filter(None, ('mirrored', turn)))
        yield words, np.rot90(block[:, :, ::-1], quarter, (1, 2))
