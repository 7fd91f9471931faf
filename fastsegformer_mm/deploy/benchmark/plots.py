"""mIoU against frames per second, and against parameters."""

from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .combination import REFERENCE, streams_words
from .machine import title_of

OURS_COLOUR, RIVAL_COLOUR = '#c1440e', '#33658a'
MARKERS = 'os^Dv<>Pp*Xh'
# points of mIoU that the axis has at least
MIN_SPAN = 4


def speed_figure(runs: Sequence[dict]) -> Figure | None:
    """mIoU against frames per second of the network alone, of one machine's runs.

    A network's runtimes have a mark each and a line through them; its name stands at
    the fastest. What ran with random weights or has no mIoU is not drawn but named.

    Args:
        runs (Sequence[dict]): Derived, of one machine.

    Returns:
        Figure | None: None where no entry has a mIoU.

    Raises:
        ValueError: The runs are of several machines.
    """
    if any(run['machine'] != runs[0]['machine'] for run in runs):
        raise ValueError('these runs are of several machines: a figure for each')
    lines: dict = {}
    for number, run in enumerate(runs):
        for entry in run['entries']:
            timed = entry.get('stages') and entry['backend'] != REFERENCE
            if drawable(run, entry) and timed:
                key = (number, entry['model'])
                lines.setdefault(key, []).append(entry)
    if not lines:
        return None
    figure, axes = _axes('frames per second, network alone, batch 1 (log scale)')
    kinds = list(dict.fromkeys(_kind(e) for line in lines.values() for e in line))
    for (number, name), entries in lines.items():
        ours = runs[number]['models'][name]['ours']
        entries = sorted(entries, key=_speed)
        points = [(_speed(e), e['miou']) for e in entries]
        axes.plot(*zip(*points), color=_colour(ours), linewidth=1, alpha=0.5, zorder=2)
        for entry, (x, y) in zip(entries, points):
            marker = MARKERS[kinds.index(_kind(entry)) % len(MARKERS)]
            _point(axes, x, y, ours, marker)
        _label(axes, name, *points[-1], ours)
    handles = [
        Line2D([], [], color='0.3', marker=MARKERS[i % len(MARKERS)], linestyle='',
               label=kind)
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    _finish(figure, axes, runs, handles)
    settings = runs[0]['settings']
    axes.set_title(
        f'{title_of(runs[0]["machine"])}\nthreads: {settings["threads"]}, '
        f'{settings["device"]}',
        fontsize=8,
    )
    return figure


def parameters_figure(runs: Sequence[dict]) -> Figure | None:
    """mIoU of eager PyTorch in float32 against parameters, each network once.

    Returns:
        Figure | None: None where no network has a mIoU.
    """
    points = {}
    for run in runs:
        for entry in run['entries']:
            model = run['models'].get(entry['model'], {})
            if entry['baseline'] and drawable(run, entry) and model.get('parameters'):
                points[entry['model']] = (
                    model['parameters'] / 1e6, entry['miou'], model['ours']
                )  # fmt: skip
    if not points:
        return None
    figure, axes = _axes('parameters (millions, log scale)')
    for name, (x, y, ours) in points.items():
        _point(axes, x, y, ours, 'o')
        _label(axes, name, x, y, ours)
    _finish(figure, axes, runs, [])
    return figure


def drawable(run: dict, entry: dict) -> bool:
    """Whether an entry has a mIoU that means something."""
    model = run['models'].get(entry['model'], {})
    return not model.get('random_weights', True) and entry.get('miou') is not None


def missing(runs: Sequence[dict]) -> list[str]:
    """Networks that no point stands for, with the reason."""
    drawn, out = set(), {}
    for run in runs:
        for entry in run['entries']:
            name = entry['model']
            if drawable(run, entry):
                drawn.add(name)
                continue
            random = run['models'].get(name, {}).get('random_weights')
            out[name] = 'random weights' if random else 'no mIoU'
    return [f'{name} ({why})' for name, why in out.items() if name not in drawn]


def _kind(entry):
    kind = f'{entry["backend"]} {entry["precision"]}'
    streams = entry.get('streams')
    return f'{kind}, {streams_words(streams)}' if streams else kind


def _speed(entry):
    return entry['stages']['network']['frames_per_second']


def _colour(ours):
    return OURS_COLOUR if ours else RIVAL_COLOUR


def _axes(label):
    figure = Figure(figsize=(8, 5.2), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_xlabel(label)
    axes.set_xscale('log')
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f'{x:g}'))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel('mIoU on the test set (%)')
    axes.grid(True, which='both', color='0.92', linewidth=0.6)
    axes.spines[['top', 'right']].set_visible(False)
    return figure, axes


def _point(axes, x, y, ours, marker):
    axes.plot(
        [x],
        [y],
        marker=marker,
        markersize=9 if ours else 7,
        color=_colour(ours),
        markeredgecolor='black' if ours else 'white',
        linestyle='',
        zorder=3,
    )


def _label(axes, name, x, y, ours):
    axes.annotate(
        name,
        (x, y),
        xytext=(9, 0),
        va='center',
        textcoords='offset points',
        fontsize=9,
        fontweight='bold' if ours else 'normal',
        color=_colour(ours),
    )


def _finish(figure, axes, runs, handles):
    handles = [
        Line2D([], [], color=OURS_COLOUR, marker='s', linestyle='', label='ours'),
        Line2D([], [], color=RIVAL_COLOUR, marker='s', linestyle='', label='rivals'),
        *handles,
    ]
    axes.legend(handles=handles, fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    # room for the last name
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * (high / low) ** 0.25)
    # a hundredth of a point is not to look like a gulf
    low, high = axes.get_ylim()
    margin = max(0.0, MIN_SPAN - (high - low)) / 2
    axes.set_ylim(low - margin, high + margin)
    left_out = missing(runs)
    if left_out:
        figure.text(
            0.01,
            -0.02,
            'not shown: ' + ', '.join(left_out),
            fontsize=7,
            color='0.4',
            va='top',
        )
