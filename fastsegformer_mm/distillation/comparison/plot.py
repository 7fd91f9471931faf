"""The picture of a comparison."""

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .settings import ALONE, METRIC
from .summary import Row


def figure_of(rows: Sequence[Row], title: str, teacher: float | None = None) -> Figure:
    """Scores, seconds a step and memory of each method, side by side.

    A score is a point, the mean a bar across, its standard error a line; dashed is
    the mean of 'alone', dotted the teacher's score. Drawn on a ``Figure`` and not
    through ``pyplot``, so that no display is needed.

    Args:
        rows (Sequence[Row]): From :func:`summarise`; those without results have an
            empty line.
        title (str): Above all.
        teacher (float, optional): Its mIoU in percent.

    Returns:
        Figure: Ready for ``savefig``.

    Example:
        >>> from fastsegformer_mm.distillation.comparison.settings import Method
        >>> row = Row(Method('alone', 'alone'), {0: 40.0}, 40.0)
        >>> figure_of([row], 'NEU-Seg').axes[0].get_xlabel()
        'mIoU on the test split (%)'
    """
    figure = Figure(figsize=(11, 1.6 + 0.45 * len(rows)), layout='constrained')
    FigureCanvasAgg(figure)
    scores, seconds, memory = figure.subplots(
        1, 3, sharey=True, gridspec_kw=dict(width_ratios=[3, 1, 1])
    )
    for y, row in enumerate(rows):
        colour = f'C{y % 10}'
        values = list(row.scores.values())
        if values:
            scores.scatter(
                values, [y] * len(values), s=22, color=colour, alpha=0.7, zorder=3
            )
            scores.errorbar(
                row.mean,
                y,
                xerr=row.error,
                color=colour,
                marker='|',
                markersize=18,
                markeredgewidth=2,
                capsize=4,
            )
        for axes, value in (
            (seconds, row.step_seconds),
            (memory, row.peak_bytes and row.peak_bytes / 2**20),
        ):
            if value:
                axes.barh(y, value, height=0.6, color=colour)
                text = f' {value:.3g}' if axes is seconds else f' {value:.0f}'
                axes.text(value, y, text, va='center', fontsize=8)
    alone = next((row.mean for row in rows if row.method.name == ALONE), None)
    for value, style, label in ((alone, '--', 'alone'), (teacher, ':', 'teacher')):
        if value is not None:
            scores.axvline(value, color='0.5', linestyle=style, label=label, zorder=1)
    if alone is not None or teacher is not None:
        scores.legend(fontsize=8)
    names = [', '.join(filter(None, (r.method.title, r.method.images))) for r in rows]
    scores.set_yticks(range(len(rows)), names)
    scores.invert_yaxis()
    for axes, label in (
        (scores, f'{METRIC} on the test split (%)'),
        (seconds, 'seconds a step'),
        (memory, 'peak memory (MiB)'),
    ):
        axes.set_xlabel(label)
        axes.spines[['top', 'right']].set_visible(False)
    for axes in (seconds, memory):
        axes.margins(x=0.25)
    figure.suptitle(title, fontsize=11)
    return figure
