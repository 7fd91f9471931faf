"""Tables of a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table

from .combination import REFERENCE, streams_words
from .machine import title_of
from .statistics import compare

RANDOM = ' *'
RANDOM_NOTE = '* random weights: its speed is real, its masks mean nothing'
REFERENCE_NOTE = (
    'reference: the reference loop, the official way of a frame: Pillow, eager '
    'float32, softmax, OpenCV on all class planes, argmax; its edges differ'
)
STREAMS_NOTE = (
    'streams: time a frame of many, so many at a time in the network and others '
    'prepared meanwhile; each of them takes longer'
)
PEAK_NOTE = (
    'peak: of the process since the model was loaded, with Python and all packages'
)
# cores; more than that and the machine was not idle
BUSY = 0.1


@dataclass
class Sheet:
    """One table.

    Attributes:
        title (str): Above it.
        columns (list[str]): Heads; the first is of words, the others of figures.
        rows (list[list[str]]): Cells.
        words (int): How many columns, from the left, are of words.
        notes (list[str]): Below it.
    """

    title: str
    columns: list
    rows: list
    words: int = 2
    notes: list = field(default_factory=list)

    def rich(self) -> Table:
        """For the terminal."""
        out = Table(title=self.title, caption='\n'.join(self.notes) or None)
        for i, column in enumerate(self.columns):
            right = i >= self.words
            out.add_column(column, justify='right' if right else 'left', no_wrap=right)
        for row in self.rows:
            out.add_row(*row)
        return out

    def markdown(self) -> str:
        """For a page."""
        bar = ['---'] * self.words + ['---:'] * (len(self.columns) - self.words)
        lines = [f'### {self.title}', '']
        for cells in (self.columns, bar, *self.rows):
            lines.append('| ' + ' | '.join(c.replace('|', '\\|') for c in cells) + ' |')
        lines += ['', *(f'* {note.removeprefix("* ")}' for note in self.notes)]
        return '\n'.join(lines).rstrip() + '\n'


def sheets_of(run: dict) -> list[Sheet]:
    """All tables of a run that has been derived."""
    measured = [e for e in run['entries'] if e.get('stages')]
    sheets = [_models(run)] if run['models'] else []
    if measured:
        sheets += [_network(run, measured), _pipeline(run, measured)]
        sheets.append(_agreement(run, measured))
    passes = [e for e in measured if e['passes'] is not None]
    if passes:
        sheets.insert(1, _passes(run, passes))
    failed = [e for e in run['entries'] if e['status'] != 'measured']
    if failed:
        rows = [[e['label'], e.get('reason') or e['status']] for e in failed]
        sheets.append(Sheet('Not measured', ['combination', 'reason'], rows))
    return sheets


def heading(run: dict) -> list[str]:
    """Machine, versions and settings, a line each."""
    settings, images, versions = run['settings'], run['images'], run['versions']
    lines = [
        title_of(run['machine']),
        f'{run["date"]}, commit {(versions.get("commit") or "unknown")[:12]}'
        + ('+' if (versions.get('commit') or '').endswith('+') else ''),
        ', '.join(f'{k} {v}' for k, v in versions.items() if k != 'commit'),
        f'device {settings["device"]}, threads: {settings["threads"]}, batch 1; '
        f'{settings["warmups"]} warm-ups, then {settings["rounds"]} rounds of '
        f'{settings["runs"]} runs of each stage, in turns',
        f'{images["frames"]} frames of {images["size"][0]}x{images["size"][1]} '
        f'({images["source"]})',
    ]
    if run['environment']:
        lines.append(', '.join(f'{k}={v}' for k, v in run['environment'].items()))
    if settings['trial']:
        lines.append('A TRIAL with few warm-ups: no figure of it is to be quoted')
    if not run['complete']:
        lines.append('INTERRUPTED: these are the rounds that were done')
    busy = [share for e in run['entries'] for share in e['busy_elsewhere']]
    if busy and max(busy) > BUSY:
        lines.append(
            f'NOT IDLE: other processes took up to {max(busy):.1f} of '
            f'{run["machine"]["cores"]} cores meanwhile'
        )
    spinning = [e['label'] for e in run['entries'] if e.get('spins')]
    if spinning:
        lines.append(
            'Threads that did not come to rest after a turn and slow the next: '
            + ', '.join(spinning)
        )
    return lines


def name_of(run: dict, entry: dict) -> str:
    """The network's name, marked where its weights are random."""
    model = run['models'].get(entry['model'], {})
    return entry['model'] + (RANDOM if model.get('random_weights') else '')


def runtime_of(entry: dict) -> str:
    """Backend and precision."""
    words = f'{entry["backend"]} {entry["precision"]}'
    if entry['passes'] is not None:
        words += f', passes: {len(entry["passes"])}'
    if entry.get('streams'):
        words += f', {streams_words(entry["streams"])}'
    return words + (', artefact' if entry['artefact'] else '')


def milliseconds(seconds: float) -> str:
    """Three digits.

    Example:
        >>> milliseconds(0.0123456), milliseconds(0.000123), milliseconds(1.5)
        ('12.3', '0.123', '1500')
    """
    value = seconds * 1e3
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f'{value:.{digits}f}'


def ratio(value: dict | None) -> str:
    """Median and the range over the rounds.

    Example:
        >>> ratio(dict(times=2.5, low=2.4, high=2.61))
        '2.50 [2.40-2.61]'
    """
    if value is None:
        return '-'
    return f'{value["times"]:.2f} [{value["low"]:.2f}-{value["high"]:.2f}]'


def known(value, form: str, factor: float = 1) -> str:
    """Formatted, '-' for None."""
    return '-' if value is None else form.format(value * factor)


def _notes(run, entries: Sequence[dict]):
    random = any(name_of(run, e).endswith(RANDOM) for e in entries)
    streams = any(e.get('streams') for e in entries)
    return [STREAMS_NOTE] * streams + [RANDOM_NOTE] * random


def _models(run):
    rows = []
    for name, model in run['models'].items():
        weights = 'RANDOM' if model['random_weights'] else model['checkpoint']
        height, width = model['input']
        rows.append(
            [
                name,
                weights,
                f'{height}x{width}',
                known(model['parameters'], '{:,}'),
                known(model['macs'], '{:.2f}', 1e-9),
            ]
        )
    return Sheet(
        'Networks', ['network', 'weights', 'input', 'parameters', 'GMACs'], rows
    )


def _network(run, entries):
    rows = []
    for entry in entries:
        stage = entry['stages']['network']
        rows.append(
            [
                name_of(run, entry),
                runtime_of(entry),
                milliseconds(stage['p50']),
                milliseconds(stage['p95']),
                milliseconds(stage['minimum']),
                f'{stage["frames_per_second"]:.1f}',
                ratio(entry['times_eager']),
                known(entry.get('peak_bytes'), '{:.0f}', 2**-20),
                known(entry.get('gpu_peak_bytes'), '{:.0f}', 2**-20),
                known(entry.get('load_seconds'), '{:.1f}'),
            ]
        )
    columns = [
        'network', 'runtime', 'p50 ms', 'p95 ms', 'min ms', 'frames/s',
        'times eager [rounds]', 'peak MiB', 'GPU MiB', 'load s',
    ]  # fmt: skip
    if all(row[8] == '-' for row in rows):
        for row in (columns, *rows):
            del row[8]
    notes = [PEAK_NOTE, *_notes(run, entries)]
    return Sheet('Network alone', columns, rows, notes=notes)


def _pipeline(run, entries):
    rows = []
    for entry in entries:
        stages = entry['stages']
        rows.append(
            [
                name_of(run, entry),
                runtime_of(entry),
                *(
                    milliseconds(stages[stage]['p50'])
                    for stage in ('preprocess', 'network', 'postprocess', 'pipeline')
                ),
                milliseconds(stages['pipeline']['p95']),
                f'{stages["pipeline"]["frames_per_second"]:.1f}',
                ratio(entry['pipeline_over_network']),
                ratio(entry['times_reference']),
            ]
        )
    columns = [
        'network', 'runtime', 'pre ms', 'net ms', 'post ms', 'all ms', 'all p95',
        'frames/s', 'all / net [rounds]', 'times reference loop [rounds]',
    ]  # fmt: skip
    notes = _notes(run, entries)
    if any(entry['backend'] == REFERENCE for entry in entries):
        notes.insert(0, REFERENCE_NOTE)
    return Sheet('From the frame to the mask', columns, rows, notes=notes)


def _agreement(run, entries):
    rows = []
    for entry in entries:
        agreement, test = entry.get('agreement') or {}, entry.get('test') or {}
        miou = known(entry.get('miou'), '{:.2f}')
        rows.append(
            [
                name_of(run, entry),
                runtime_of(entry),
                known(agreement.get('logit_difference'), '{:.1e}'),
                known(agreement.get('equal_pixels'), '{:.4f}', 100),
                known(test.get('equal_pixels'), '{:.4f}', 100),
                miou + (' (given)' if entry.get('miou_given') else ''),
            ]
        )
    columns = [
        'network', 'runtime', 'logits off, of max', 'equal pixels %',
        'on the test set %', 'mIoU %',
    ]  # fmt: skip
    title = f'Agreement with eager PyTorch in float32, {run["images"]["frames"]} frames'
    reasons = dict.fromkeys(
        f'no mIoU of {e["model"]}: {e["no_miou"]}' for e in entries if e.get('no_miou')
    )
    return Sheet(title, columns, rows, notes=[*reasons, *_notes(run, entries)])


def _passes(run, entries):
    rows, before = [], {}
    for entry in entries:
        key = entry['model'], entry['backend'], entry['precision']
        first, last = before.get(key, (entry, entry))
        before[key] = first, entry
        agreement = entry.get('agreement') or {}
        gains = [compare(_seconds(slow), _seconds(entry)) for slow in (last, first)]
        rows.append(
            [
                name_of(run, entry),
                f'{entry["backend"]} {entry["precision"]}',
                '+ ' + entry['passes'][-1] if entry['passes'] else 'as trained',
                milliseconds(entry['stages']['network']['p50']),
                *(f'{gain.times:.2f}' for gain in gains),
                ratio(entry['times_eager']),
                known(agreement.get('logit_difference'), '{:.1e}'),
                known(agreement.get('equal_pixels'), '{:.4f}', 100),
            ]
        )
    columns = [
        'network', 'runtime', 'passes so far', 'p50 ms', 'by this pass', 'by all',
        'times eager [rounds]', 'logits off, of max', 'equal pixels %',
    ]  # fmt: skip
    return Sheet(
        'Gain of each pass', columns, rows, words=3, notes=_notes(run, entries)
    )


def _seconds(entry):
    """Of the network alone, by round."""
    return [seconds['network'] for seconds in entry['rounds']]
