"""``defects.jsonl`` and ``defects.csv``: what was found, frame by frame."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

from fastsegformer_mm.utils.names import escaped

from .names import as_json

JSONL, CSV = 'defects.jsonl', 'defects.csv'
COLUMNS = (
    'source',
    'frame',
    'seconds',
    'at',
    'class',
    'pixels',
    'share',
    'part_share',
    'regions',
    'largest',
    'boxes',
    'grade',
)


class RecordFiles:
    """Appends records to both files, and flushes after each.

    Args:
        folder (str | Path): Where the files are.
    """

    def __init__(self, folder):
        folder = Path(folder)
        with contextlib.ExitStack() as files:
            self._jsonl = files.enter_context(open(folder / JSONL, 'ab'))
            self._csv = files.enter_context(open(folder / CSV, 'ab'))
            self._files = files.pop_all()
        if not self._csv.tell():
            self._csv.write(header())
            self._csv.flush()

    def append(self, record: dict) -> None:
        """Add a frame."""
        # the JSON first: the CSV is made of it again after a kill in between
        self._jsonl.write(line(record))
        self._jsonl.flush()
        self._csv.write(rows(record))
        self._csv.flush()

    def close(self) -> None:
        """Bring both to the disk and close them."""
        with self._files:
            for file in (self._jsonl, self._csv):
                file.flush()
                os.fsync(file.fileno())


def repair(folder, keep: Callable[[dict], bool]) -> int:
    """Bring both files into order after an interruption.

    A line that was written half is dropped, as are second lines of a frame and
    those that ``keep`` does not want; the CSV is made of what remains. Either file
    is replaced at once or stays as it was. Records are read one by one: there may
    be millions.

    Args:
        folder (str | Path): Where the files are.
        keep (Callable): Whether a record is to stay.

    Returns:
        int: Records that were kept.
    """
    folder = Path(folder)
    temporary = [folder / f'.{name}.tmp' for name in (JSONL, CSV)]
    kept, seen, last = 0, set(), {}
    with contextlib.ExitStack() as files:
        jsonl, table = (files.enter_context(open(t, 'wb')) for t in temporary)
        table.write(header())
        for record in read_records(folder):
            source, frame = record['source'], record['frame']
            # frames of a video come in their order
            if (source in seen) if frame is None else frame <= last.get(source, -1):
                continue
            if not keep(record):
                continue
            if frame is None:
                seen.add(source)
            else:
                last[source] = frame
            jsonl.write(line(record))
            table.write(rows(record))
            kept += 1
        for file in (jsonl, table):
            file.flush()
            os.fsync(file.fileno())
    for path, name in zip(temporary, (JSONL, CSV)):
        os.replace(path, folder / name)
    return kept


def read_records(folder):
    """Yield the records of a folder; lines that are none are passed over.

    Example:
        >>> list(read_records('/nowhere'))
        []
    """
    path = Path(folder) / JSONL
    if not path.is_file():
        return
    with open(path, 'rb') as file:
        for text in file:
            if not text.endswith(b'\n'):
                continue
            try:
                record = json.loads(text)
                complete = {'source', 'frame', 'classes'} <= set(record)
            except (ValueError, TypeError):
                continue
            if complete:
                yield record


def line(record: dict) -> bytes:
    """A record as a line of JSON."""
    return as_json(record) + b'\n'


def header() -> bytes:
    """The first line of the CSV."""
    return ','.join(COLUMNS).encode() + b'\n'


def rows(record: dict) -> bytes:
    """A record as lines of CSV, one for each class; its name in one line too."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    for name, figures in record['classes'].items():
        boxes = ';'.join(' '.join(map(str, box)) for box in figures['boxes'])
        values = {**record, **figures, 'class': name, 'boxes': boxes}
        values['source'] = escaped(record['source'])
        writer.writerow([values[column] for column in COLUMNS])
    return text.getvalue().encode()
