"""Figures of a picture or a video as rows of a table and as CSV."""

from dataclasses import dataclass

import numpy as np

from fastsegformer_mm.deploy.model_card import ModelCard
from fastsegformer_mm.deploy.prediction.measure import defect_classes
from fastsegformer_mm.deploy.prediction.record_files import header, rows
from fastsegformer_mm.visualization.drawing import class_colours

PICTURE_HEADS = (
    'Class',
    'Share of pixels',
    'Pixels',
    'Regions',
    'Largest, pixels',
    'Its box',
)
COUNTS = ('pixels', 'regions', 'largest')
VIDEO_HEADS = (
    'Class',
    'Mean share',
    'Largest share',
    'Frames with it',
    'Most regions',
    'Largest, pixels',
)


@dataclass(frozen=True)
class Row:
    """A class in the table.

    Args:
        name (str): Of the class.
        colour (str): As CSS has it.
        share (float): Of all pixels, 0 to 1.
        cells (tuple[str]): What stands behind the name.
        boxes (tuple): (left, top, width, height) in pixels.
        background (bool): Whether it is what is no defect.
    """

    name: str
    colour: str
    share: float
    cells: tuple[str, ...]
    boxes: tuple = ()
    background: bool = False


def legend(card: ModelCard) -> list[tuple[str, str]]:
    """Names of all classes with their colours, '' for the background."""
    shown = defect_classes(card)
    colours = class_colours(card.palette)
    colours += [(128, 128, 128)] * (len(card.classes) - len(colours))
    return [
        (name, 'rgb({}, {}, {})'.format(*colour) if name in shown else '')
        for name, colour in zip(card.classes, colours)
    ]


def percent(share: float) -> str:
    """A share in words, never 0 where there is something.

    Example:
        >>> percent(0.12345), percent(0.00001), percent(0)
        ('12.35 %', '< 0.01 %', '0 %')
    """
    if not share:
        return '0 %'
    return '< 0.01 %' if share < 5e-5 else f'{100 * share:.2f} %'


def picture_rows(record: dict, card: ModelCard) -> list[Row]:
    """Rows of a picture: the largest share first, background last.

    Args:
        record (dict): Of :func:`~..prediction.finish.finish_frame`.
        card (ModelCard): The model's.
    """
    found = []
    figures = record['classes']
    size = record['height'] * record['width']
    rest = size - sum(f['pixels'] for f in figures.values())
    for name, colour in legend(card):
        if name not in figures:
            cells = (percent(rest / size), f'{rest:,}', '', '', '')
            found.append(Row(name, colour, rest / size, cells, background=True))
            continue
        f = figures[name]
        box = '{2} x {3} at {0}, {1}'.format(*f['boxes'][0]) if f['boxes'] else ''
        cells = (percent(f['share']), *(f'{f[k]:,}' for k in COUNTS), box)
        found.append(Row(name, colour, f['share'], cells, f['boxes']))
    return _sorted(found)


def video_rows(records: list[dict], card: ModelCard) -> list[Row]:
    """Rows of a video: figures of each class over all its frames.

    Args:
        records (list[dict]): Of each frame, as in :func:`picture_rows`.
        card (ModelCard): The model's.
    """
    found = []
    frames = [record['classes'] for record in records]
    for name, colour in legend(card):
        if name not in frames[0]:
            shares = [1 - sum(f['share'] for f in frame.values()) for frame in frames]
            cells = (percent(np.mean(shares)), percent(max(shares)), '', '', '')
            share = float(np.mean(shares))
            found.append(Row(name, colour, share, cells, background=True))
            continue
        of = [frame[name] for frame in frames]
        mean = float(np.mean([f['share'] for f in of]))
        cells = (
            percent(mean),
            percent(max(f['share'] for f in of)),
            f'{sum(f["pixels"] > 0 for f in of):,} of {len(of):,}',
            f'{max(f["regions"] for f in of):,}',
            f'{max(f["largest"] for f in of):,}',
        )
        found.append(Row(name, colour, mean, cells))
    return _sorted(found)


def _sorted(rows):
    return sorted(rows, key=lambda row: (row.background, -row.share))


def found_words(rows: list[Row]) -> str:
    """The rows in one line.

    Example:
        >>> found_words([Row('ulcer', 'red', 0.25, ()), Row('scar', 'blue', 0.0, ())])
        'Found: ulcer 25.00 %'
        >>> found_words([Row('ulcer', 'red', 0.0, ())])
        'No defect found'
    """
    there = [row for row in rows if row.share and not row.background]
    if not there:
        return 'No defect found'
    return 'Found: ' + ', '.join(f'{row.name} {percent(row.share)}' for row in there)


def as_csv(records: list[dict]) -> bytes:
    """Records as CSV, as ``defects.csv`` of tools/predict.py has them."""
    return b''.join((header(), *map(rows, records)))


def harmless(text: str) -> str:
    """A text that a spreadsheet does not take for a formula.

    Example:
        >>> harmless('=1+1.jpg'), harmless('a.jpg')
        ("'=1+1.jpg", 'a.jpg')
    """
    return f"'{text}" if text.startswith(('=', '+', '-', '@', '\t', '\r')) else text
