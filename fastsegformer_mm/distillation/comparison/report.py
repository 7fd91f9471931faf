"""The results of a comparison as a table, a picture, Markdown, CSV and JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table

from fastsegformer_mm.engine.checkpoint.write import replace_file

from .plot import figure_of
from .summary import METRIC, Row

COLUMNS = (
    'method',
    METRIC,
    'runs',
    'over alone',
    's/step',
    'of alone',
    'peak MiB',
)


@dataclass
class Report:
    """What is known by now.

    Attributes:
        title (str): Teacher, student and budget.
        rows (list[Row]): From :func:`summarise`.
        results (list[dict]): Of the runs that the rows are of.
        teacher (dict, optional): The teacher's own result.
        notes (list[str]): What a reader must know: runs that are left out or have
            failed, figures that do not compare.
    """

    title: str
    rows: list[Row]
    results: list[dict]
    teacher: dict | None = None
    notes: list = field(default_factory=list)

    @property
    def teacher_score(self) -> float | None:
        return self.teacher and self.teacher['metrics'][METRIC]

    def table(self) -> Table:
        """For the terminal, the single scores too."""
        out = Table(title=self.title, caption='\n'.join(self.lines()))
        out.add_column(COLUMNS[0], no_wrap=True)
        for column in (*COLUMNS[1:], 'by seed'):
            out.add_column(column, justify='right', no_wrap=True)
        for row in self.rows:
            single = '  '.join(f'{s:.2f}' for s in row.scores.values())
            out.add_row(*cells(row), single)
        return out

    def lines(self) -> list[str]:
        """What stands below the table."""
        lines = []
        if self.teacher:
            lines.append(f'Teacher: {METRIC} {self.teacher_score:.2f}.')
        lines += [f'{r.title}: {r.note}.' for r in self.rows if r.note and r.scores]
        return lines + self.notes

    def markdown(self) -> str:
        """A table and the notes below, for a README."""
        lines = [f'### {self.title}', '']
        columns = [*COLUMNS, 'by seed']
        lines.append('| ' + ' | '.join(columns) + ' |')
        lines.append('| --- |' + ' ---: |' * (len(columns) - 1))
        for row in self.rows:
            single = ', '.join(f'{k}: {s:.2f}' for k, s in row.scores.items())
            first, *others = cells(row)
            if row.reference.startswith('http'):
                first = f'[{first}]({row.reference})'
            lines.append('| ' + ' | '.join([first, *others, single or '-']) + ' |')
        lines += ['', *(f'* {line}' for line in self.lines())]
        return '\n'.join(lines).rstrip() + '\n'

    def csv(self) -> str:
        """One line a run, all metrics."""
        metrics = list(dict.fromkeys(k for r in self.results for k in r['metrics']))
        measured = ['iterations', 'batch_size', 'step_seconds', 'peak_bytes']
        out = io.StringIO()
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(['method', 'seed', *metrics, *measured])
        for result in self.results:
            writer.writerow(
                [
                    result['method'],
                    result['seed'],
                    *(result['metrics'].get(k, '') for k in metrics),
                    *(result.get(k, '') for k in measured),
                ]
            )
        return out.getvalue()

    def write(self, folder) -> list[Path]:
        """``comparison.json``, ``.csv``, ``.md`` and ``.png`` in the folder."""
        folder = Path(folder)
        content = dict(
            title=self.title,
            methods=[asdict(row) for row in self.rows],
            teacher=self.teacher,
            runs=self.results,
            notes=self.notes,
        )
        picture = io.BytesIO()
        figure = figure_of(self.rows, self.title, self.teacher_score)
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
        >>> cells(Row('kl', 'KL', {0: 41.0, 1: 42.0}, 41.5, 0.7071, 1.0, 0.25, 0.5,
        ...           2**20, 1.25))
        ['KL', '41.50 ± 0.71', '2', '+1.00 ± 0.25', '0.500', '1.25x', '1']
    """

    def known(value, form):
        return '-' if value is None else form.format(value)

    def spread(value):
        return '' if value is None else f' ± {value:.2f}'

    return [
        row.title,
        known(row.mean, '{:.2f}') + spread(row.sd),
        str(len(row.scores)),
        known(row.difference, '{:+.2f}') + spread(row.difference_sd),
        known(row.step_seconds, '{:.3f}'),
        known(row.times, '{:.2f}x'),
        known(row.peak_bytes and row.peak_bytes / 2**20, '{:.0f}'),
    ]


def title_of(teacher: Path, student: Path, results: Sequence[dict]) -> str:
    """The pair, and the budget of the runs."""
    title = f'{student.stem} taught by {teacher.stem}'
    budgets = {(r['iterations'], r['batch_size']) for r in results if 'iterations' in r}
    if len(budgets) == 1:
        iterations, batch_size = budgets.pop()
        title += f': {iterations} iterations of {batch_size}'
    return title
