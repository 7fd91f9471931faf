"""Pictures of an evaluation: confusion matrix and per-class bars.

They are drawn on matplotlib ``Figure`` objects and not through ``pyplot``, whose
current figure and backend are global: nothing here needs a display, or changes
what the caller's own plots do.
"""
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .fonts import drawable_names, use_fonts

# Above this many classes a number no longer fits into its cell.
MAX_ANNOTATED_CLASSES = 30


def short_count(count: int) -> str:
    """Write a pixel count in at most six characters.

    Example:
        >>> short_count(12345), short_count(1234567)
        ('12,345', '1.23M')
    """
    for unit, size in (('G', 10**9), ('M', 10**6)):
        if count >= size:
            return f'{count / size:.3g}{unit}'
    return f'{count:,}' if count < 100_000 else f'{count / 1000:.0f}k'


def confusion_matrix_figure(matrix: np.ndarray,
                            class_names: Sequence[str]) -> Figure:
    """Draw a confusion matrix, coloured by the share of each row.

    Each cell says which percentage of the row's label pixels was predicted as
    the column's class, and how many pixels that is. The row of a class without
    label pixels has no shares and is hatched.

    Args:
        matrix (np.ndarray): Pixel counts of shape (C, C), rows the label's class,
            columns the predicted one.
        class_names (Sequence[str]): The C names.

    Returns:
        Figure: Ready for ``savefig``.

    Example:
        >>> figure = confusion_matrix_figure(np.eye(2, dtype=int), ['no', 'yes'])
        >>> figure.axes[0].get_ylabel()
        'label'
    """
    num = len(class_names)
    class_names = drawable_names(class_names)
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, matrix / np.maximum(totals, 1), np.nan)

    annotated = num <= MAX_ANNOTATED_CLASSES
    side = 2 + max(4, num * (1 if num <= 12 else 0.65 if annotated else 0.16))
    figure = Figure(figsize=(side + 1.2, side), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_facecolor('0.9')
    # 'auto' fills the axes; with 'equal' the layout would cut the outer labels
    picture = axes.imshow(
        100 * shares, cmap='Blues', vmin=0, vmax=100, aspect='auto')
    figure.colorbar(
        picture, ax=axes, aspect=30, pad=0.02,
        label="share of the label's pixels (%)")
    slant = ({'rotation': 40, 'rotation_mode': 'anchor', 'ha': 'right'}
             if annotated else {'rotation': 90})
    size = 10 if annotated else 7
    axes.set_xticks(range(num), class_names, fontsize=size, **slant)
    axes.set_yticks(range(num), class_names, fontsize=size)
    axes.set_xlabel('prediction')
    axes.set_ylabel('label')
    axes.set_title('Confusion matrix: share of each row, pixels')
    for row in np.flatnonzero(totals[:, 0] == 0):
        axes.axhspan(row - 0.5, row + 0.5, facecolor='none', edgecolor='0.6',
                     hatch='//', linewidth=0)
    if annotated:
        for (row, column), count in np.ndenumerate(matrix):
            share = shares[row, column]
            text = short_count(int(count))
            if not np.isnan(share):
                text = f'{100 * share:.1f}%\n{text}'
            axes.text(column, row, text, ha='center', va='center',
                      fontsize=9 if num <= 12 else 7,
                      color='white' if share > 0.55 else 'black')
    return use_fonts(figure)


def class_bar_figure(values: Sequence[float], class_names: Sequence[str],
                     title: str, mean: float | None = None,
                     mean_name: str = 'mean') -> Figure:
    """Draw one horizontal bar a class, with its value.

    Args:
        values (Sequence[float]): Percent, one a class; nan is written as 'n/a'.
        class_names (Sequence[str]): The names, drawn from top to bottom.
        title (str): What the bars are, as 'IoU'.
        mean (float, optional): Percent; drawn as a dashed line. Defaults to
            None: no line.
        mean_name (str): What the line is called. Defaults to 'mean'.

    Returns:
        Figure: Ready for ``savefig``.

    Example:
        >>> figure = class_bar_figure([90.5, float('nan')], ['no', 'yes'], 'IoU')
        >>> figure.axes[0].get_xlabel()
        'IoU (%)'
    """
    num = len(class_names)
    class_names = drawable_names(class_names)
    figure = Figure(figsize=(7.5, min(1.4 + 0.45 * num, 60)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    defined = np.nan_to_num(np.asarray(values, dtype=float))
    axes.barh(range(num), defined, color='tab:blue', height=0.62)
    for row, value in enumerate(values):
        missing = np.isnan(value)
        axes.text(0.8 if missing else value + 0.8, row,
                  'n/a' if missing else f'{value:.2f}',
                  va='center', color='0.45' if missing else 'black',
                  bbox={'facecolor': 'white', 'edgecolor': 'none', 'pad': 0.5})
    if mean is not None and not np.isnan(mean):
        axes.axvline(mean, color='tab:orange', linestyle='--', zorder=0,
                     label=f'{mean_name} {mean:.2f}')
        figure.legend(loc='outside lower right', frameon=False)
    axes.set_yticks(range(num), class_names)
    axes.set_ylim(num - 0.5, -0.5)
    # room for '100.00' behind a full bar
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel(f'{title} (%)')
    axes.set_title(f'{title} of each class')
    axes.spines[['top', 'right']].set_visible(False)
    return use_fonts(figure)
