"""Runs as tables, Markdown, JSON and pictures."""

import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fastsegformer_mm.engine.checkpoint.write import replace_file

from .machine import title_of
from .plots import missing, parameters_figure, speed_figure
from .results import by_machine, write_runs
from .sheets import heading, sheets_of


def show(console: Console, runs: Sequence[dict]) -> None:
    """Print all tables, machine by machine."""
    machines = by_machine(runs)
    for number, group in enumerate(machines, 1):
        if len(machines) > 1:
            console.rule(_machine_title(number, group))
        for run in group:
            for line in heading(run):
                console.print(line, markup=False, highlight=False)
            for sheet in sheets_of(run):
                console.print(sheet.rich())


def markdown(runs: Sequence[dict]) -> str:
    """All tables, machine by machine; a ratio is of one run."""
    lines = ['# Benchmark', '']
    machines = by_machine(runs)
    for number, group in enumerate(machines, 1):
        if len(machines) > 1:
            lines += [f'## {_machine_title(number, group)}', '']
        for run in group:
            lines += [*(f'* {line}' for line in heading(run)), '']
            lines += [sheet.markdown() for sheet in sheets_of(run)]
    left_out = missing(runs)
    if left_out:
        lines += [f'Without a point in the pictures: {", ".join(left_out)}.', '']
    return '\n'.join(lines).rstrip() + '\n'


def write(folder, runs: Sequence[dict]) -> list[Path]:
    """``benchmark.json``, ``.md``, and the pictures that there are points for.

    ``miou_fps.png`` is of one machine; those of more have a number behind.
    """
    folder = Path(folder)
    files = [
        write_runs(folder / 'benchmark.json', runs),
        replace_file(folder / 'benchmark.md', [markdown(runs).encode()]),
    ]
    figures = {'miou_parameters.png': parameters_figure(runs)}
    for number, group in enumerate(by_machine(runs), 1):
        name = 'miou_fps.png' if number == 1 else f'miou_fps_{number}.png'
        figures[name] = speed_figure(group)
    for name, figure in figures.items():
        if figure is None:
            # one of an earlier run would be taken for this one's
            (folder / name).unlink(missing_ok=True)
            continue
        picture = io.BytesIO()
        figure.savefig(picture, format='png', dpi=150, bbox_inches='tight')
        files.append(replace_file(folder / name, [picture.getvalue()]))
    return files


def _machine_title(number, group):
    return f'Machine {number}: {title_of(group[0]["machine"])}'
