"""What the command lines of predictions have in common."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console

from ..errors import DeployError
from ..model_card import ModelCard
from .finish import FORMATS, FrameSettings
from .grading import read_grading
from .part_masks import PartMasks
from .pipeline import Outcome
from .result_writer import StreamSettings
from .run_folder import REPORT, RunFolder
from .run_report import report_bytes, stage_table

UNREADABLE, USAGE, BROKE_OFF, INTERRUPTED = 1, 2, 3, 130
EXIT_CODES = (
    f'Exit code: 0 all was read, {UNREADABLE} some files could not be, {USAGE} nothing '
    f'was begun, {BROKE_OFF} it broke off (as on a full disk), {INTERRUPTED} '
    'interrupted.'
)


def add_model_options(parser: ArgumentParser, threads: str = 'default: all') -> None:
    """Add the options that choose and run the model.

    Args:
        parser (ArgumentParser): Gets them.
        threads (str): What the default number is.
    """
    group = parser.add_argument_group('model')
    group.add_argument('--checkpoint', help='weights, where MODEL is a config')
    group.add_argument(
        '--backend',
        default='auto',
        choices=('auto', 'torch', 'compile', 'onnxruntime', 'openvino'),
    )
    group.add_argument('--device', default='auto', help='auto, cpu or cuda:N')
    group.add_argument('--threads', type=int, help=f'of the runtime ({threads})')
    group.add_argument(
        '--precision',
        default='auto',
        choices=('auto', 'fp32', 'bf16', 'fp16', 'int8'),
    )
    group.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to override in the config, as key=value',
    )


def add_output_options(parser: ArgumentParser) -> None:
    """Add the options that say what is made of a frame."""
    group = parser.add_argument_group('outputs')
    group.add_argument(
        '--grading',
        type=Path,
        metavar='FILE',
        help='rule that gives grades, as configs/grading/navel_orange.yml',
    )
    group.add_argument(
        '--part-masks',
        type=Path,
        metavar='DIR',
        help='NAME.png for each image NAME, not 0 where the fruit or part is; or one '
        'file for all',
    )
    group.add_argument(
        '--opacity', type=float, default=0.5, help='of the colours (default: 0.5)'
    )
    group.add_argument(
        '--overlay-format', choices=FORMATS, default='jpg', help='default: jpg'
    )
    group.add_argument(
        '--quality', type=int, default=90, help='of jpg and webp (default: 90)'
    )
    group.add_argument('--no-overlays', action='store_true')
    group.add_argument('--no-masks', action='store_true')
    group.add_argument(
        '--min-region',
        type=int,
        default=1,
        metavar='PIXELS',
        help='smaller regions are not counted (default: 1)',
    )
    group.add_argument(
        '--max-boxes',
        type=int,
        default=100,
        metavar='N',
        help='of a class in a frame, the largest (default: 100)',
    )


def check_ranges(
    parser: ArgumentParser, args: Namespace, least: dict[str, float]
) -> None:
    """End by the parser's error where a number is out of its range.

    Args:
        parser (ArgumentParser): Of the tool.
        args (Namespace): What it has read.
        least (dict[str, float]): Least values of the tool's own options; None may be
            the value of any.
    """
    common = {'threads': 1, 'limit': 1, 'min_region': 1, 'max_boxes': 0}
    for name, limit in {**common, **least}.items():
        value = getattr(args, name)
        if value is not None and value < limit:
            parser.error(
                f'--{name.replace("_", "-")} is {value}: expected {limit} or more'
            )
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity is {args.opacity}: expected 0 to 1')
    if not 1 <= args.quality <= 100:
        parser.error(f'--quality is {args.quality}: expected 1 to 100')


def frame_settings(args: Namespace, classes: Sequence[str]) -> FrameSettings:
    """What is made of a frame, as the options say.

    Args:
        args (Namespace): Of :func:`add_output_options`.
        classes (Sequence[str]): Of the model.

    Raises:
        DeployError: The grading rule or the masks of the part cannot be used.
    """
    return FrameSettings(
        masks=not args.no_masks,
        overlays=not args.no_overlays,
        opacity=args.opacity,
        overlay_format=args.overlay_format,
        quality=args.quality,
        grading=args.grading and read_grading(args.grading, classes),
        parts=args.part_masks and PartMasks(args.part_masks.absolute()),
        min_region=args.min_region,
        max_boxes=args.max_boxes,
    )


def identity(
    args: Namespace,
    card: ModelCard,
    settings: FrameSettings,
    root: str,
    streams: StreamSettings,
) -> dict:
    """What decides what comes out: another one is another run.

    Args:
        args (Namespace): Of :func:`add_model_options` and :func:`add_output_options`.
        card (ModelCard): Of the model.
        settings (FrameSettings): What is made of a frame.
        root (str): Folder that the inputs are named from.
        streams (StreamSettings): Of videos.
    """
    return {
        'model': asdict(card),
        'backend': args.backend,
        'device': args.device,
        'precision': args.precision,
        'inputs relative to': root,
        'grading': settings.grading and asdict(settings.grading),
        'part masks': args.part_masks and str(args.part_masks.resolve()),
        'masks': settings.masks,
        'overlays': settings.overlays,
        'opacity': settings.opacity,
        'overlay format': settings.overlay_format,
        'quality': settings.quality,
        'min region': settings.min_region,
        'max boxes': settings.max_boxes,
        'every': streams.every,
        'max frames': streams.most,
        'video format': streams.container,
    }


def options_used(args: Namespace, sources: Sequence) -> dict:
    """The options for the report; of the inputs the first ones.

    Args:
        args (Namespace): Of the tool.
        sources (Sequence): Its inputs, whose addresses may hold a password.
    """
    options = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
    }
    options['inputs'] = [source.origin for source in sources[:20]]
    return options


def finish(outcome: Outcome, report: dict, folder: RunFolder) -> int:
    """Show and write what was done.

    Args:
        outcome (Outcome): Of the prediction.
        report (dict): Content of ``run.json``.
        folder (RunFolder): Where to.

    Returns:
        int: The exit code.
    """
    try:
        folder.write(REPORT, report_bytes(report))
    except OSError as error:
        outcome.error = outcome.error or error
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if outcome.frames:
        console.print(stage_table(report))
    said = f'{outcome.frames} frames into {folder.path}'
    if outcome.skipped:
        said += f'; {outcome.skipped} inputs were done before'
    if outcome.dropped:
        said += f'; {outcome.dropped} frames were dropped for newer ones'
    print(said)
    if outcome.failed:
        print(f'{outcome.failed} could not be read:', file=sys.stderr)
        for origin, reason in outcome.failures:
            print(f'  {origin}: {reason}', file=sys.stderr)
        more = outcome.failed - len(outcome.failures)
        if more:
            print(f'  and {more} more, see failures.jsonl', file=sys.stderr)
    if outcome.error is not None:
        error = outcome.error
        text = str(error) if isinstance(error, (DeployError, OSError)) else repr(error)
        print(
            f'error: broke off: {" ".join(text.split())}. What is written is complete: '
            'the same command goes on from there',
            file=sys.stderr,
        )
        return BROKE_OFF
    if outcome.interrupted:
        print('interrupted: the same command goes on from here', file=sys.stderr)
        return INTERRUPTED
    return UNREADABLE if outcome.failed else 0


def stop(error: BaseException) -> int:
    """Say in one line why nothing was begun; the exit code."""
    print('error:', ' '.join(str(error).split()), file=sys.stderr)
    return USAGE
