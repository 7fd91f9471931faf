"""The words of a contact sheet: legend and captions."""
from dataclasses import dataclass

import numpy as np

from .drawing import IGNORED, INK, PAPER, chequer, hatch
from .fonts import text_length

EDGE = (0, 229, 255)


@dataclass(frozen=True)
class Style:
    """How all pages of a contact sheet are drawn; sizes are in pixels."""

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


def facts_of(seen, style):
    """What became of an image, a fact an entry; sizes are height x width."""
    meta, now = seen.meta, seen.picture.shape[:2]
    before = tuple(meta.get('ori_shape', now))[:2]
    facts = [f'{_size(before)} → {_size(now)}' if before != now else _size(now)]
    if not meta.get('labelled', True):
        facts.insert(0, 'unlabelled')
    factor = meta.get('scale_factor')
    if factor is not None and tuple(factor) != (1, 1):
        # MMSegmentation has it as width, height
        facts.append(f'scale {factor[1]:.2f}x{factor[0]:.2f}')
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


def legend_of(inputs, classes, style):
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


def flow(entries, style, room):
    """Offset in pixels and row of each entry, and the number of rows."""
    places, x, row = [], 0, 0
    for swatch, words in entries:
        wide = round(swatch.shape[1] + text_length(words, style.text)
                     + 2 * style.text)
        if x and x + wide > room:
            x, row = 0, row + 1
        places.append((x, row))
        x += wide
    return places, row + 1


def wrap(facts, style):
    """Facts in as few lines of a cell's width as they need."""
    lines = []
    for fact in facts:
        longer = f'{lines[-1]} · {fact}' if lines else fact
        if lines and text_length(longer, style.text) <= style.cell:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def _size(shape):
    return f'{shape[0]}x{shape[1]}'
