"""Mean, standard error, gains and cost of each method, from the results of its runs."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .settings import ALONE, EQUAL_TIME, METRIC, TEACHER, Method

# how much longer a distillation may take than 'alone, equal time' was given
TOLERANCE = 1.05
# points by which a teacher should be better, as in CheckTeacherHook
MARGIN = 2


@dataclass
class Row:
    """What was measured of one method.

    Attributes:
        method (Method): What it is.
        scores (dict[int, float]): mIoU on the test split in percent, by seed.
        mean (float, optional): Of the scores; None without one.
        error (float, optional): Standard error of the mean; None below two.
        gains (dict[str, tuple]): By 'alone', 'equal time' and 'same images', the
            differences to that control, seed by seed, in points: (mean, standard
            error or None, number of seeds); (None, None, 0) where no seed has both.
        iterations (float, optional): Mean number of training iterations.
        step_seconds (float, optional): Median over the runs of their medians.
        seconds (float, optional): ``iterations`` times ``step_seconds``.
        peak_bytes (int, optional): The largest peak of memory of a run.
    """

    method: Method
    scores: dict = field(default_factory=dict)
    mean: float | None = None
    error: float | None = None
    gains: dict = field(default_factory=dict)
    iterations: float | None = None
    step_seconds: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None


def summarise(results: Sequence[dict], methods: Sequence[Method]) -> list[Row]:
    """One row for each method, in their order.

    Args:
        results (Sequence[dict]): Those of complete runs, as ``result.json`` has them.
        methods (Sequence[Method]): One without results gets an empty row.

    Example:
        >>> runs = [dict(method=name, seed=seed, metrics=dict(mIoU=score))
        ...         for name, seed, score in (
        ...             ('alone', 0, 40.0), ('alone', 1, 42.0), ('kl', 0, 41.0),
        ...             ('kl', 1, 45.0))]
        >>> alone, kl = summarise(runs, [Method('alone', 'alone'), Method('kl', 'KL')])
        >>> alone.mean, kl.mean, kl.gains['alone']
        (41.0, 43.0, (2.0, 1.0, 2))
    """
    rows = {method.name: _row(method, results) for method in methods}
    for name, row in rows.items():
        controls = {'alone': ALONE, 'equal time': EQUAL_TIME}
        if row.method.distiller:
            controls['same images'] = row.method.control
        for control, of in controls.items():
            if name not in (TEACHER, ALONE, of) and of in rows:
                others = rows[of].scores
                row.gains[control] = mean_and_error(
                    [s - others[k] for k, s in row.scores.items() if k in others]
                )
    return list(rows.values())


def _row(method, results):
    results = sorted(
        (r for r in results if r['method'] == method.name), key=lambda r: r['seed']
    )
    row = Row(method, {r['seed']: r['metrics'][METRIC] for r in results})
    row.mean, row.error, _ = mean_and_error([*row.scores.values()])
    iterations = [r['iterations'] for r in results if 'iterations' in r]
    steps = [r['step_seconds'] for r in results if r.get('step_seconds')]
    if iterations:
        row.iterations = statistics.mean(iterations)
    if steps:
        row.step_seconds = statistics.median(steps)
        row.seconds = row.iterations * row.step_seconds
    row.peak_bytes = max((r.get('peak_bytes') or 0 for r in results), default=0) or None
    return row


def mean_and_error(values: Sequence[float]) -> tuple:
    """Mean, its standard error s / sqrt(n) with n - 1 in s, and n.

    Example:
        >>> mean_and_error([1.0, 3.0]), mean_and_error([5.0]), mean_and_error([])
        ((2.0, 1.0, 2), (5.0, None, 1), (None, None, 0))
    """
    n = len(values)
    error = statistics.stdev(values) / math.sqrt(n) if n > 1 else None
    return statistics.mean(values) if n else None, error, n


def equal_time(rows: Sequence[Row], budget: int, method: str | None = None) -> dict:
    """How much longer the student alone trains in the seconds of a distillation.

    Args:
        rows (Sequence[Row]): From :func:`summarise`.
        budget (int): Iterations of the student's own schedule.
        method (str, optional): The distillation. Defaults to None, the longest.

    Returns:
        dict: The ``method``, its ``seconds``, and the ``stretch`` of the schedule, at
        least 1; {} as long as no step of it, or of 'alone', was timed.
    """
    rows = {row.method.name: row for row in rows if row.seconds}
    distilled = [row for name, row in rows.items() if row.method.distiller]
    if method is not None:
        distilled = [row for row in distilled if row.method.name == method]
    if ALONE not in rows or not distilled:
        return {}
    longest = max(distilled, key=lambda row: row.seconds)
    stretch = longest.seconds / (rows[ALONE].step_seconds * budget)
    return dict(
        method=longest.method.name,
        seconds=longest.seconds,
        stretch=max(1.0, round(stretch, 4)),
    )


def about_equal_time(found: dict, rows: Sequence[Row]) -> list[str]:
    """What :func:`equal_time` gave, and which distillations took longer than that."""
    if not found:
        return []
    limit = TOLERANCE * found['seconds']
    longer = [
        row.method.name
        for row in rows
        if row.method.distiller and (row.seconds or 0) > limit
    ]
    text = (
        f'Alone, equal time: {found["stretch"]:.2f} times the schedule, for the '
        f'{found["seconds"]:.0f} s of {found["method"]}.'
    )
    if longer:
        text += (
            f' {", ".join(longer)} took longer: to give it their time, remove '
            'equal_time.json and use --rerun-changed.'
        )
    return [text]


def caveats(rows: Sequence[Row], results: Sequence[dict]) -> list[str]:
    """What a reader must know of teacher, images and runs, one line each."""
    found = _teacher(rows) + _images(rows, results)
    trained = [r for r in results if 'iterations' in r]
    if any(r.get('side_by_side') for r in trained):
        found.append(
            'Runs were made side by side: seconds a step are those of a machine that '
            'is shared, and good for a rough comparison only.'
        )
    machines = [r.get('machine', {}) for r in trained]
    keys = sorted({key for machine in machines for key in machine})
    differing = [k for k in keys if len({m.get(k) for m in machines}) > 1]
    if differing:
        found.append(
            f'Runs differ in {", ".join(differing)}: their seconds and memory do not '
            'compare.'
        )
    if len(budgets(results)) > 1:
        found.append(
            f'Budgets differ: {sorted(budgets(results))} (iterations, batch size).'
        )
    seeds = {frozenset(r.scores) for r in rows if r.method.name != TEACHER}
    if len(seeds - {frozenset()}) > 1:
        found.append('Not all methods have been run with the same seeds.')
    return found


def _teacher(rows):
    rows = {row.method.name: row for row in rows if row.scores}
    if TEACHER not in rows:
        return []
    found = []
    if ALONE in rows:
        gap = rows[TEACHER].mean - rows[ALONE].mean
        found.append(f'Teacher minus student alone: {gap:+.2f} points.')
        if gap < MARGIN:
            found.append('A teacher that is hardly better teaches little.')
    if rows[TEACHER].iterations is None:
        found.append('Its checkpoint was given; its training has no cost here.')
    return found


def _images(rows, results):
    names = {row.method.name: row.method.images or 'alone' for row in rows}
    names[TEACHER] = 'teacher'
    sets = {}
    for result in results:
        images = result.get('images')
        if images is None:
            continue
        text = f'{images["labelled"]} labelled'
        if images['unlabelled']:
            text += f' and {images["unlabelled"]} unlabelled'
        text += ', {}x{}'.format(*images['size'])
        size = images['student_size']
        if size:
            size = [size, size] if isinstance(size, int) else size
            text += ', for the student {}x{}'.format(*size)
        text += f'; {images["test"]} to test'
        sets.setdefault(text, {})[names[result['method']]] = None
    return [f'Images of {", ".join(of)}: {text}.' for text, of in sets.items()]


def budgets(results: Sequence[dict]) -> set[tuple[int, int]]:
    """The students' iterations and batch sizes, without 'alone, equal time'."""
    return {
        (r['max_iters'], r['batch_size'])
        for r in results
        if 'max_iters' in r and r['method'] not in (EQUAL_TIME, TEACHER)
    }
