"""What the network is fed, on sheets to be looked at."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from fastsegformer_mm.utils.background import AUTO, background_class

from .contact_words import EDGE, Style, facts_of, flow, legend_of, wrap
from .drawing import (
    FAINT,
    GAP,
    IGNORED,
    INK,
    PAPER,
    chequer,
    class_colours,
    fit,
    hatch,
    tint,
    write,
)
from .fonts import draw_text, drawable_names
from .network_input import NetworkInput

COLUMNS = {'input': 'network input', 'label': 'label', 'student': 'student input'}


def contact_sheet(inputs: Sequence[NetworkInput],
                  classes: Sequence[str],
                  palette: Sequence[Sequence[int]],
                  per_row: int = 3,
                  rows: int = 6,
                  tile: int = 224,
                  ignore_index: int = 255,
                  opacity: float = 0.35,
                  title: Sequence[str] = (),
                  background: str | int | None = AUTO) -> list[np.ndarray]:
    """Draw network inputs beside themselves with their label laid over.

    Classes are tinted and outlined in colours of full brightness, the background is
    not. Ignored pixels are hatched, values that belong to no class
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
        background (str | int | None): Class that is not tinted, by name or index;
            None for none. Defaults to 'auto', the one with a known name.

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
    style = Style(columns, tile, len(classes), class_colours(palette),
                  background_class(classes, background), ignore_index, opacity)
    legend = legend_of(inputs, drawable_names(classes), style)
    width = GAP + per_row * (style.cell + GAP)
    places, legend_rows = flow(legend, style, width - 2 * GAP)
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
            draw_text(pen, (GAP + x + swatch.shape[1] + style.text // 2, y), words,
                      style.text, INK)
        y = top
        for band, height in zip(bands, tall):
            for k, view in enumerate(band):
                sheet.paste(Image.fromarray(view),
                            (GAP + k * (style.cell + GAP), y))
            y += height + GAP
        pages.append(np.asarray(sheet))
    return pages


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


def _view(seen, style):
    """The pictures of one input, their headings and what became of it."""
    pictures = _pictures(seen, style)
    facts = wrap(facts_of(seen, style), style)
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
