"""What the network is fed, on sheets to be looked at."""
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .drawing import (
    FAINT,
    GAP,
    INK,
    PAPER,
    background_class,
    class_colours,
    fit,
    pen_font,
    tint,
    write,
)
from .network_input import NetworkInput

IGNORED = (255, 0, 255)
NO_CLASS = ((255, 255, 0), (0, 0, 0))
EDGE = (0, 229, 255)
COLUMNS = {'input': 'network input', 'label': 'label', 'student': 'student input'}


def contact_sheet(inputs: Sequence[NetworkInput],
                  classes: Sequence[str],
                  palette: Sequence[Sequence[int]],
                  per_row: int = 3,
                  rows: int = 6,
                  tile: int = 224,
                  ignore_index: int = 255,
                  opacity: float = 0.35,
                  title: Sequence[str] = ()) -> list[np.ndarray]:
    """Draw network inputs beside themselves with their label laid over.

    Classes are tinted and outlined in colours of full brightness, the class named
    "background" is not. Ignored pixels are hatched, values that belong to no class
    chequered; a line marks where padding begins. Below stands what became of the
    image. Each page begins with a legend, with the share of every class in all
    labels drawn.

    Args:
        inputs (Sequence[NetworkInput]): What to draw, in this order.
        classes (Sequence[str]): Class names.
        palette (Sequence[Sequence[int]]): RGB of each class, 0 to 255.
        per_row (int): Inputs beside each other. Defaults to 3.
        rows (int): Rows of a page. Defaults to 6.
        tile (int): Longer side of a picture in pixels, at least 64. Defaults to 224.
        ignore_index (int): Label value that the losses skip. Defaults to 255.
        opacity (float): Of the tint, between 0 and 1. Defaults to 0.35.
        title (Sequence[str]): Lines on top of every page, the first in bold.

    Returns:
        list[np.ndarray]: Pages, each uint8 RGB of (H, W, 3), all of one width.

    Raises:
        ValueError: If there is nothing to draw or an argument is out of range.

    Example:
        >>> import torch
        >>> seen = NetworkInput('a.jpg', torch.zeros(3, 32, 32),
        ...                     np.zeros((32, 32, 3), np.uint8))
        >>> pages = contact_sheet([seen] * 5, ['rust'], [(128, 0, 0)], 2, 2, 64)
        >>> [page.shape[1] for page in pages]
        [152, 152]
    """
    if not inputs:
        raise ValueError('no inputs to draw, expected at least one')
    if per_row < 1 or rows < 1 or tile < 64 or not 0 <= opacity <= 1:
        raise ValueError(
            f'{per_row} inputs a row, {rows} rows, a tile of {tile} pixels and an '
            f'opacity of {opacity}: expected 1 or more, 1 or more, 64 or more, and '
            '0 to 1')
    columns = [c for c in COLUMNS
               if c == 'input' or any(getattr(s, c) is not None for s in inputs)]
    style = _Style(columns, tile, len(classes), class_colours(palette),
                   background_class(classes), ignore_index, opacity)
    legend = _legend(inputs, classes, style)
    width = GAP + per_row * (style.cell + GAP)
    places, legend_rows = _flow(legend, style, width - 2 * GAP)
    top = GAP + style.line * (len(title) + legend_rows) + GAP

    pages = []
    for first in range(0, len(inputs), per_row * rows):
        shown = inputs[first:first + per_row * rows]
        bands = [[_view(s, style) for s in shown[k:k + per_row]]
                 for k in range(0, len(shown), per_row)]
        tall = [max(view.shape[0] for view in band) for band in bands]
        sheet = Image.new('RGB', (width, top + sum(tall) + GAP * len(tall)), PAPER)
        pen = ImageDraw.Draw(sheet)
        for k, words in enumerate(title):
            write(pen, (GAP, GAP // 2 + k * style.line), words, style.text,
                  width - 2 * GAP, INK if k == 0 else FAINT, bold=k == 0)
        for (x, row), (swatch, words) in zip(places, legend):
            y = GAP + (len(title) + row) * style.line
            sheet.paste(Image.fromarray(swatch), (GAP + x, y))
            pen.text((GAP + x + swatch.shape[1] + style.text // 2, y), words,
                     fill=INK, font=pen_font(style.text))
        y = top
        for band, height in zip(bands, tall):
            for k, view in enumerate(band):
                sheet.paste(Image.fromarray(view),
                            (GAP + k * (style.cell + GAP), y))
            y += height + GAP
        pages.append(np.asarray(sheet))
    return pages


@dataclass(frozen=True)
class _Style:
    columns: list[str]
    tile: int
    num_classes: int
    colours: list
    background: int | None
    ignore_index: int
    opacity: float

    @property
    def text(self):
        """Size of the letters in pixels."""
        return max(round(self.tile / 18), 10)

    @property
    def line(self):
        """Distance of two lines of text."""
        return round(1.5 * self.text)

    @property
    def cell(self):
        """Width of the pictures of one input."""
        return len(self.columns) * (self.tile + 2) - 2


def spread_label(seen: NetworkInput) -> np.ndarray:
    """The label at the size of the picture; -1 where the picture is padding.

    Labels of a test pipeline keep their own size and know nothing of the padding:
    they are resized to what lies within, by nearest neighbour.
    """
    height, width = seen.picture.shape[:2]
    if seen.label.shape == (height, width):
        return seen.label
    left, right, top, bottom = seen.padding
    inner = (max(width - left - right, 1), max(height - top - bottom, 1))
    label = np.full((height, width), -1, np.int64)
    label[top:top + inner[1], left:left + inner[0]] = cv2.resize(
        seen.label.astype(np.int32), inner, interpolation=cv2.INTER_NEAREST_EXACT)
    return label


def hatch(shape: tuple[int, int]) -> np.ndarray:
    """Where the lines of the hatching of ignored pixels are, bool of ``shape``."""
    rows, columns = np.indices(shape)
    return (rows + columns) % 8 < 2


def chequer(shape: tuple[int, int]) -> np.ndarray:
    """The pattern of values that belong to no class, RGB of ``shape``."""
    rows, columns = np.indices(shape)
    return np.array(NO_CLASS, np.uint8)[(rows // 4 + columns // 4) % 2]


def _view(seen, style):
    """The pictures of one input, their headings and what became of it."""
    pictures = _pictures(seen, style)
    facts = _wrap(_facts(seen, style), style)
    tall = max(picture.shape[0] for picture in pictures.values())
    below = style.line + tall + 2
    view = Image.new(
        'RGB', (style.cell, below + style.line * (1 + len(facts))), PAPER)
    pen = ImageDraw.Draw(view)
    for k, column in enumerate(style.columns):
        x = k * (style.tile + 2)
        heading = COLUMNS[column]
        if column == 'input' and 'student' in style.columns:
            heading = 'teacher input'
        write(pen, (x, 0), heading, style.text, style.tile, FAINT)
        if column in pictures:
            view.paste(Image.fromarray(pictures[column]), (x, style.line))
        else:
            write(pen, (x, 2 * style.line), f'no {heading}', style.text,
                  style.tile, FAINT)
    write(pen, (0, below), Path(seen.path).name, style.text, style.cell)
    for k, words in enumerate(facts, 1):
        write(pen, (0, below + k * style.line), words, style.text, style.cell, FAINT)
    return np.asarray(view)


def _pictures(seen, style):
    pictures = {'input': fit(seen.picture, style.tile)}
    if seen.label is not None:
        label = spread_label(seen)
        picture = tint(
            pictures['input'], label, style.colours, style.background, style.opacity)
        stranger = (label >= style.num_classes) & (label != style.ignore_index)
        where = _shrunk(stranger, picture.shape)
        picture[where] = chequer(picture.shape[:2])[where]
        where = _shrunk(label == style.ignore_index, picture.shape)
        picture[where & hatch(picture.shape[:2])] = IGNORED
        pictures['label'] = picture
    for picture in pictures.values():
        _mark_padding(picture, seen)
    if seen.student is not None:
        # in proportion, so that it is seen how much smaller it is
        share = max(seen.student.shape[:2]) / max(seen.picture.shape[:2])
        pictures['student'] = fit(
            seen.student, min(max(round(style.tile * share), 1), style.tile))
    return pictures


def _shrunk(mask, shape):
    if not mask.any():
        return np.zeros(shape[:2], bool)
    share = cv2.resize(
        mask.astype(np.float32), shape[1::-1], interpolation=cv2.INTER_AREA)
    return share >= min(0.5, 0.9 * float(share.max()))


def _mark_padding(picture, seen):
    height, width = picture.shape[:2]
    scale = height / seen.picture.shape[0], width / seen.picture.shape[1]
    left, right, top, bottom = seen.padding
    if left:
        picture[:, max(round(left * scale[1]) - 1, 0)] = EDGE
    if right:
        picture[:, min(width - round(right * scale[1]), width - 1)] = EDGE
    if top:
        picture[max(round(top * scale[0]) - 1, 0)] = EDGE
    if bottom:
        picture[min(height - round(bottom * scale[0]), height - 1)] = EDGE


def _size(shape):
    return f'{shape[1]}x{shape[0]}'


def _facts(seen, style):
    """What became of an image, a fact an entry; sizes are width x height."""
    meta, now = seen.meta, seen.picture.shape[:2]
    before = tuple(meta.get('ori_shape', now))[:2]
    facts = [f'{_size(before)} → {_size(now)}' if before != now else _size(now)]
    factor = meta.get('scale_factor')
    if factor is not None and tuple(factor) != (1, 1):
        facts.append(f'scale {factor[0]:.2f}x{factor[1]:.2f}')
    if 'flip' in meta:
        facts.append(f'flip {meta["flip_direction"] if meta["flip"] else "no"}')
    if any(seen.padding):
        sides = zip(('left', 'right', 'top', 'bottom'), seen.padding)
        facts.append('padding ' + ' '.join(f'{s} {n}' for s, n in sides if n))
    if seen.student is not None:
        facts.append(f'student {_size(seen.student.shape)}')
    facts.append(f'values {seen.tensor.min():.2f} to {seen.tensor.max():.2f}')
    if seen.label is not None:
        if seen.label.shape != now:
            facts.append(f'label {_size(seen.label.shape)}')
        ignored = (seen.label == style.ignore_index).mean()
        if ignored:
            facts.append(f'ignored {100 * ignored:.1f} %')
        for value, count in _strangers(seen.label, style):
            facts.append(f'no class {value}: {count} px')
    return facts


def _strangers(label, style):
    """Values that belong to no class, and how many pixels have them."""
    values, counts = np.unique(label, return_counts=True)
    return [(int(v), int(n)) for v, n in zip(values, counts)
            if not 0 <= v < style.num_classes and v != style.ignore_index]


def _legend(inputs, classes, style):
    """Swatch and words of each entry."""
    labels = [s.label for s in inputs if s.label is not None]
    pixels = max(sum(label.size for label in labels), 1)
    box = (round(0.8 * style.line), style.line)
    grey = np.full((*box, 3), 160, np.uint8)
    entries = []
    for k, name in enumerate(classes):
        words = str(name)
        if labels:
            share = sum(int((label == k).sum()) for label in labels) / pixels
            words += f' {100 * share:.1f} %'
        if k == style.background:
            words += ' (not tinted)'
        colour = PAPER if k == style.background else style.colours[k]
        entries.append((np.full((*box, 3), colour, np.uint8), words))
    ignored = sum(int((label == style.ignore_index).sum()) for label in labels)
    if ignored:
        swatch = grey.copy()
        swatch[hatch(box)] = IGNORED
        share = 100 * ignored / pixels
        entries.append((swatch, f'ignored ({style.ignore_index}) {share:.1f} %'))
    if any(_strangers(label, style) for label in labels):
        entries.append((chequer(box), 'value of no class'))
    if any(any(s.padding) for s in inputs):
        swatch = grey.copy()
        swatch[:, box[1] // 2] = EDGE
        entries.append((swatch, 'edge of the padding'))
    for swatch, _ in entries:
        swatch[[0, -1]] = swatch[:, [0, -1]] = INK
    return entries


def _flow(entries, style, room):
    """Offset in pixels and row of each entry, and the number of rows."""
    places, x, row = [], 0, 0
    for swatch, words in entries:
        wide = round(swatch.shape[1] + pen_font(style.text).getlength(words)
                     + 2 * style.text)
        if x and x + wide > room:
            x, row = 0, row + 1
        places.append((x, row))
        x += wide
    return places, row + 1


def _wrap(facts, style):
    """Facts in as few lines of a cell's width as they need."""
    lines = []
    for fact in facts:
        longer = f'{lines[-1]} · {fact}' if lines else fact
        if lines and pen_font(style.text).getlength(longer) <= style.cell:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines
