"""The results of a comparison as a table, a picture, Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fastsegformer_mm.engine.checkpoint.write import replace_file

from .plot import figure_of
from .settings import METRIC, TEACHER
from .summary import Row, budgets

GAINS = ('alone', 'equal time', 'same images')
COLUMNS = (
    *('method', 'images', METRIC, *(f'over {gain}' for gain in GAINS)),
    *('iterations', 's/step', 'training s', 'peak MiB', 'by seed'),
)
MEASURED = ('max_iters', 'iterations', 'batch_size', 'step_seconds', 'peak_bytes')


@dataclass
class Report:
    """What is known by now.

    Attributes:
        title (str): Teacher, student and budget.
        rows (list[Row]): From :func:`summarise`, the teacher's first.
        results (list[dict]): Of the runs that the rows are of.
        notes (list[str]): What a reader must know: runs that are left out or have
            failed, figures that do not compare.
    """

    title: str
    rows: list[Row]
    results: list[dict]
    notes: list = field(default_factory=list)

    def lines(self) -> list[str]:
        """What stands below the table."""
        lines = [
            'Mean ± standard error over the seeds; gains are means of the differences '
            'seed by seed. Of each run the best weights on the validation images are '
            'tested, once.'
        ]
        notes = {(r.method.title, r.method.note) for r in self.rows if r.scores}
        lines += [f'{title}: {note}.' for title, note in sorted(notes) if note]
        return lines + self.notes

    def markdown(self) -> str:
        """A table and the notes below, for a README or the terminal."""
        lines = [f'### {self.title}', '', '| ' + ' | '.join(COLUMNS) + ' |']
        lines.append('| --- | --- |' + ' ---: |' * (len(COLUMNS) - 2))
        for row in self.rows:
            first, *others = cells(row)
            if row.method.reference.startswith('http'):
                first = f'[{first}]({row.method.reference})'
            lines.append('| ' + ' | '.join([first, *others]) + ' |')
        lines += ['', *(f'* {line}' for line in self.lines())]
        return '\n'.join(lines).rstrip() + '\n'

    def csv(self) -> str:
        """One line a run, all metrics."""
        metrics = list(dict.fromkeys(k for r in self.results for k in r['metrics']))
        out = io.StringIO()
        columns = ['method', 'seed', *metrics, *MEASURED]
        writer = csv.DictWriter(
            out, columns, extrasaction='ignore', lineterminator='\n'
        )
        writer.writeheader()
        writer.writerows({**r, **r['metrics']} for r in self.results)
        return out.getvalue()

    def write(self, folder) -> list[Path]:
        """``comparison.json``, ``.csv``, ``.md`` and ``.png`` in the folder."""
        folder = Path(folder)
        content = dict(
            title=self.title,
            methods=[
                {**asdict(row), 'method': row.method.name, 'title': row.method.title}
                for row in self.rows
            ],
            runs=self.results,
            notes=self.lines(),
        )
        teacher = [row.mean for row in self.rows if row.method.name == TEACHER]
        methods = [row for row in self.rows if row.method.name != TEACHER]
        picture = io.BytesIO()
        figure = figure_of(methods, self.title, *teacher)
        figure.savefig(picture, format='png', dpi=130)
        files = {
            'json': json.dumps(content, indent=2).encode(),
            'csv': self.csv().encode(),
            'md': self.markdown().encode(),
            'png': picture.getvalue(),
        }
        return [
            replace_file(folder / f'comparison.{suffix}', [data])
            for suffix, data in files.items()
        ]


def cells(row: Row) -> list[str]:
    """One line of the table, '-' where nothing is known.

    Example:
        >>> from fastsegformer_mm.distillation.comparison.settings import Method
        >>> cells(Row(Method('kl', 'KL', '224x224'), {0: 41.0, 1: 42.0}, 41.5, 0.5,
        ...           {'alone': (1.0, 0.25, 2), 'equal time': (-0.5, None, 1)},
        ...           300, 0.5, 150.0, 2**20))  # doctest: +NORMALIZE_WHITESPACE
        ['KL', '224x224', '41.50 ± 0.50', '+1.00 ± 0.25', '-0.50 (1 seed)', '-',
         '300', '0.500', '150', '1', '0: 41.00, 1: 42.00']
    """

    def known(value, form):
        return '-' if value is None else form.format(value)

    def spread(value, error, form='{:.2f}'):
        return known(value, form) + ('' if error is None else f' ± {error:.2f}')

    gains = []
    for gain in GAINS:
        value, error, seeds = row.gains.get(gain, (None, None, 0))
        text = spread(value, error, '{:+.2f}')
        if 0 < seeds < len(row.scores):
            text += f' ({seeds} seed{"s" if seeds > 1 else ""})'
        gains.append(text)
    return [
        row.method.title,
        row.method.images or '-',
        spread(row.mean, row.error),
        *gains,
        known(row.iterations, '{:.0f}'),
        known(row.step_seconds, '{:.3f}'),
        known(row.seconds, '{:.0f}'),
        known(row.peak_bytes and row.peak_bytes / 2**20, '{:.0f}'),
        ', '.join(f'{k}: {score:.2f}' for k, score in row.scores.items()) or '-',
    ]


def title_of(teacher: Path, student: Path, results: Sequence[dict]) -> str:
    """The pair, and the budget of the runs."""
    title = f'{student.stem} taught by {teacher.stem}'
    found = budgets(results)
    if len(found) == 1:
        iterations, batch_size = found.pop()
        title += f': {iterations} iterations of {batch_size}'
    return title
