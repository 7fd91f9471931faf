"""A report as lines, as a table, and as JSON."""
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .report import DatasetReport, Problem


def problem_lines(report: DatasetReport, problems: Sequence[Problem],
                  show: int = 10) -> list[str]:
    """A line a problem, at most ``show`` of a kind, errors first.

    Example:
        >>> one = Problem('size-differs', 'error', 'val', 'a.png', '2x2', '4x4', 'x')
        >>> two = Problem('size-differs', 'error', 'val', 'b.png', '2x2', '4x4', 'x')
        >>> problem_lines(DatasetReport('c.py'), [one, two], show=1)
        ['val: size-differs: a.png: 2x2, expected 4x4; x', \
'size-differs: ... and 1 more']
    """
    lines = []
    for kind, found in report.by_kind(problems).items():
        lines += [str(problem) for problem in found[:show]]
        if len(found) > show:
            lines.append(f'{kind}: ... and {len(found) - show} more')
    return lines


def print_report(report: DatasetReport, show: int = 10,
                 console: Console | None = None) -> None:
    """Print a table of the splits, the problems, and the verdict."""
    console = console or Console(highlight=False)
    console.print(_table(report))
    for problems, style in ((report.errors, 'red'), (report.warnings, 'yellow')):
        for line in problem_lines(report, problems, show):
            # a line a problem: a terminal may break it, a log must not
            console.print(Text(f'{"error" if style == "red" else "warning"}: {line}',
                               style=style), soft_wrap=True)
    checked = sum(split.checked for split in report.splits.values())
    pairs = sum(max(split.pairs, split.images) for split in report.splits.values())
    looked = f'all {checked} pairs' if checked >= pairs else (
        f'{checked} of {pairs} pairs')
    console.print(
        f'{len(report.errors)} error(s), {len(report.warnings)} warning(s); looked '
        f'into {looked} in {report.seconds:.1f} s')


def _table(report: DatasetReport) -> Table:
    """A column a split; a row for each count and for the share of each class."""
    table = Table(title=report.config or None)
    table.add_column('')
    splits = list(report.splits.values())
    for split in splits:
        table.add_column(split.split, justify='right')
    counts = ['images', 'labels', 'pairs', 'checked']
    if any(split.unlabelled for split in splits):
        counts.insert(1, 'unlabelled')
    for name in counts:
        table.add_row(name, *(f'{getattr(split, name):,}' for split in splits))
    table.add_row('sizes (HxW)', *(_sizes(split.image_sizes) for split in splits),
                  end_section=True)
    names = list(dict.fromkeys(name for split in splits for name in split.classes))
    for name in names:
        table.add_row(name, *(_class_share(split, name) for split in splits))
    table.add_row('ignored', *(
        _percent(split.ignored_pixels, _total(split)) for split in splits))
    return table


def _sizes(sizes) -> str:
    shown = [f'{h}x{w}' for (h, w), _ in sizes.most_common(2)]
    return ', '.join(shown) + (f' +{len(sizes) - 2}' if len(sizes) > 2 else '')


def _total(split) -> int:
    return int(split.class_pixels.sum()) + split.ignored_pixels


def _class_share(split, name: str) -> str:
    if name not in split.classes:
        return ''
    k = split.classes.index(name)
    return (f'{_percent(split.class_pixels[k], _total(split))} in '
            f'{split.class_images[k]:,}')


def _percent(part: int, total: int) -> str:
    return f'{100 * part / total:.2f} %' if total else '-'


def write_json(report: DatasetReport, path: str | Path) -> Path:
    """Write everything that was found.

    Args:
        report (DatasetReport): What was found.
        path (str | Path): File to write; its folder is made.

    Returns:
        Path: The file: ``config``, ``ok``, ``seconds``, ``problems`` (a dict each, of
        the fields of Problem) and ``splits``.
    """
    path = Path(path)
    splits = {}
    for name, split in report.splits.items():
        splits[name] = {
            'images': split.images, 'unlabelled': split.unlabelled,
            'labels': split.labels, 'pairs': split.pairs,
            'checked': split.checked, 'classes': list(split.classes),
            'class_pixels': split.class_pixels.tolist(),
            'class_images': split.class_images.tolist(),
            'ignored_pixels': split.ignored_pixels,
            'image_sizes': {f'{h}x{w}': count for (h, w), count
                            in split.image_sizes.most_common()}}
    content = {'config': report.config, 'ok': report.ok,
               'seconds': round(report.seconds, 3),
               'problems': [vars(problem) for problem in report.problems],
               'splits': splits}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n', encoding='utf-8')
    return path
