"""The result of a check as a page for the browser."""
import itertools
from collections import Counter
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fastsegformer_mm.utils.background import background_class
from fastsegformer_mm.visualization.drawing import class_colours

from .html_report_pictures import (
    Partners,
    is_picture,
    mask_thumbnail,
    mentioned_file,
    overlay,
    photo_thumbnail,
)
from .html_report_words import KINDS
from .report import SEVERITIES, DatasetReport, Problem, SplitSummary

THUMBNAIL = 160
SAMPLE = 224
# of one kind; the page lists the names of the others up to this many
MOST_NAMES = 5000
# these are told above the files, more beside each of them
MOST_WAYS_OUT = 3
TEMPLATE = 'html_report.html.j2'


def write_html(report: DatasetReport, path: str | Path, examples: int = 6) -> Path:
    """Write a report as one HTML file that needs nothing else.

    It shows what each split holds, the share of every class, the problems by kind
    with thumbnails of the files, and overlays of sound pairs. Pictures are inlined,
    nothing is fetched and no script runs. Files that cannot be read get a word in
    place of a picture.

    Args:
        report (DatasetReport): What the check found.
        path (str | Path): File to write; its folder is made.
        examples (int): Problems of a kind that are shown with thumbnails; the rest
            is listed. Defaults to 6.

    Returns:
        Path: The file.

    Raises:
        OSError: If it cannot be written.

    Example:
        >>> import tempfile
        >>> report = DatasetReport('config.py', seconds=1.5)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     page = write_html(report, f'{folder}/report.html')
        ...     'config.py' in page.read_text(encoding='utf-8')
        True
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters['count'] = lambda number: f'{number:,}'
    partners = Partners(report)
    page = environment.get_template(TEMPLATE).render(
        report=report,
        verdict=_verdict(report),
        name=Path(report.config).name or 'config',
        made=datetime.now().strftime('%Y-%m-%d %H:%M'),
        splits=[_split(summary) for summary in report.splits.values()],
        kinds=[_kind(kind, problems, report, partners, examples)
               for kind, problems in report.by_kind().items()])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # names that are no UTF-8 as escapes
    path.write_text(page, encoding='utf-8', errors='backslashreplace')
    return path


def _verdict(report):
    errors, warnings = len(report.errors), len(report.warnings)
    if errors:
        return 'bad', 'Not ready for training'
    if not report.splits:
        return 'bad', 'Nothing was checked'
    if warnings:
        return 'look', 'Ready for training, but look at the warnings'
    return 'good', 'Ready for training'


def _share(part, whole):
    """A share in percent, in words that never call a few pixels none."""
    if not whole or not part:
        return '0 %'
    percent = 100 * part / whole
    return '< 0.01 %' if percent < 0.01 else f'{percent:.2f} %'


def _split(summary: SplitSummary) -> dict:
    total = int(summary.class_pixels.sum()) + summary.ignored_pixels
    colours = _colours(summary)
    background = background_class(summary.classes, summary.background)
    bars = [
        {'name': str(name), 'colour': colour, 'share': _share(pixels, total),
         'plain': k == background,
         'width': f'{100 * pixels / total:.3f}' if total else '0',
         'images': images, 'never': total > 0 and not images}
        for k, name, colour, pixels, images in zip(
            itertools.count(), summary.classes, colours, summary.class_pixels.tolist(),
            summary.class_images.tolist())]
    sizes = [(f'{height}x{width}', count) for (height, width), count
             in summary.image_sizes.most_common(3)]
    return {
        'summary': summary, 'bars': bars, 'total': total, 'sizes': sizes,
        'more_sizes': max(len(summary.image_sizes) - 3, 0),
        'ignored': _share(summary.ignored_pixels, total),
        'samples': [
            {'file': image, **overlay(
                image, label, SAMPLE, summary, colours)}
            for image, label in summary.samples]}


def _colours(summary):
    """RGB of each class; grey where the palette is short of one."""
    palette = [tuple(int(c) for c in colour)[:3] for colour in summary.palette]
    missing = len(summary.classes) - len(palette)
    return class_colours(palette)[:len(summary.classes)] + [(128, 128, 128)] * missing


def _kind(kind: str, problems: list[Problem], report, partners, examples) -> dict:
    title, explanation = KINDS.get(kind, (kind.replace('-', ' ').capitalize(), ''))
    splits = Counter(problem.split for problem in problems)
    severities = Counter(problem.severity for problem in problems)
    ways_out = list(dict.fromkeys(problem.way_out for problem in problems))
    return {
        'kind': kind,
        'title': title,
        'explanation': explanation,
        'count': len(problems),
        'severities': [(s, severities[s]) for s in SEVERITIES if severities[s]],
        'splits': [(split or 'no split', count) for split, count in splits.items()],
        # mostly one; where every file has its own, it stands beside the file
        'ways_out': ways_out if len(ways_out) <= MOST_WAYS_OUT else [],
        'examples': [_example(p, report, partners) for p in problems[:examples]],
        'others': problems[examples:examples + MOST_NAMES],
        'unlisted': max(len(problems) - examples - MOST_NAMES, 0)}


def _example(problem: Problem, report: DatasetReport, partners: Partners) -> dict:
    """A problem with thumbnails of its image and label, and of those it names."""
    shown = {'problem': problem, 'name': Path(problem.file).name or problem.file,
             'pictures': []}
    files = [problem.file, mentioned_file(problem.value)]
    drawn = set()
    for file in files:
        if file is None or not is_picture(file) or file in drawn:
            continue
        image, label = partners.pair(file, problem.split)
        drawn.update((image, label))
        shown['pictures'].append(photo_thumbnail(image, THUMBNAIL))
        if label is not None:
            summary = report.splits.get(problem.split, SplitSummary(problem.split))
            shown['pictures'].append(
                mask_thumbnail(label, THUMBNAIL, summary, _colours(summary)))
    return shown
