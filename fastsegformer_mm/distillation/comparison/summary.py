"""Mean, spread and cost of each method, from the results of its runs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .settings import ALONE, Method

METRIC = 'mIoU'


@dataclass
class Row:
    """What was measured of one method.

    Attributes:
        name (str): The method's.
        title (str): What a table calls it.
        scores (dict[int, float]): mIoU on the test split in percent, by seed.
        mean (float, optional): Of the scores; None without one.
        sd (float, optional): Their standard deviation (n - 1); None below two.
        difference (float, optional): Mean of the differences to 'alone', seed by
            seed, in points; None where no seed has both.
        difference_sd (float, optional): The standard deviation of these.
        step_seconds (float, optional): Median over the runs of their medians.
        peak_bytes (int, optional): The largest peak of memory of a run.
        times (float, optional): ``step_seconds`` over that of 'alone'.
        note (str): The method's.
        reference (str): The method's.
    """

    name: str
    title: str
    scores: dict = field(default_factory=dict)
    mean: float | None = None
    sd: float | None = None
    difference: float | None = None
    difference_sd: float | None = None
    step_seconds: float | None = None
    peak_bytes: int | None = None
    times: float | None = None
    note: str = ''
    reference: str = ''


def summarise(results: Sequence[dict], methods: Sequence[Method]) -> list[Row]:
    """One row for each method, in their order.

    Args:
        results (Sequence[dict]): Those of complete runs, as ``result.json`` has them.
        methods (Sequence[Method]): One without results gets an empty row.

    Example:
        >>> from fastsegformer_mm.distillation.comparison.settings import Method
        >>> runs = [dict(method=name, seed=seed, metrics=dict(mIoU=score))
        ...         for name, seed, score in (
        ...             ('alone', 0, 40.0), ('alone', 1, 42.0), ('kl', 0, 41.0),
        ...             ('kl', 1, 45.0))]
        >>> alone, kl = summarise(runs, [Method('alone'), Method('kl')])
        >>> alone.mean, kl.mean, kl.difference
        (41.0, 43.0, 2.0)
    """
    by_method = {}
    for result in results:
        by_method.setdefault(result['method'], []).append(result)
    rows = [_row(method, by_method.get(method.name, [])) for method in methods]
    alone = next((row for row in rows if row.name == ALONE), None)
    if alone is None:
        return rows
    for row in rows:
        if row is alone:
            continue
        gaps = [s - alone.scores[k] for k, s in row.scores.items() if k in alone.scores]
        row.difference, row.difference_sd = _mean(gaps), _sd(gaps)
        if row.step_seconds and alone.step_seconds:
            row.times = row.step_seconds / alone.step_seconds
    return rows


def _row(method, results):
    results = sorted(results, key=lambda result: result['seed'])
    scores = {result['seed']: result['metrics'][METRIC] for result in results}
    seconds = [r['step_seconds'] for r in results if r.get('step_seconds')]
    peaks = [r['peak_bytes'] for r in results if r.get('peak_bytes')]
    return Row(
        name=method.name,
        title=method.title or method.name,
        scores=scores,
        mean=_mean(scores.values()),
        sd=_sd(scores.values()),
        step_seconds=statistics.median(seconds) if seconds else None,
        peak_bytes=max(peaks, default=None),
        note=method.note,
        reference=method.reference,
    )


def _mean(values):
    return statistics.mean(values) if values else None


def _sd(values):
    return statistics.stdev(values) if len(values) > 1 else None


def caveats(results: Sequence[dict]) -> list[str]:
    """What a reader must know of the runs before comparing their figures."""
    trained = [r for r in results if 'iterations' in r]
    found = []
    if any(r.get('side_by_side') for r in trained):
        found.append(
            'Runs were made side by side: seconds a step are those of a machine that '
            'is shared, and good for a rough comparison alone.'
        )
    machines = [r.get('machine', {}) for r in trained]
    keys = sorted({key for machine in machines for key in machine})
    differing = [k for k in keys if len({m.get(k) for m in machines}) > 1]
    if differing:
        found.append(
            f'Runs differ in {", ".join(differing)}: their seconds and memory do not '
            'compare.'
        )
    budgets = {(r['iterations'], r['batch_size']) for r in trained}
    if len(budgets) > 1:
        found.append(f'Budgets differ: {sorted(budgets)} (iterations, batch size).')
    return found
