"""What the tools of predictions do with their options, and at their end."""

import contextlib
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from fastsegformer_mm.utils.names import escaped

from ..errors import DeployError
from ..model_card import ModelCard
from .finish import FrameSettings
from .grading import read_grading
from .inputs import Inputs
from .outcome import Outcome
from .part_masks import PartMasks
from .result_writer import StreamSettings
from .run_folder import REPORT, RunFolder
from .run_report import report_bytes, stage_table

# fastsegformer_cli.options says what they mean
FAILED, USAGE, BROKE_OFF, INTERRUPTED = 1, 2, 3, 130


def frame_settings(args: Namespace, card: ModelCard) -> FrameSettings:
    """What is made of a frame, as the options say.

    Args:
        args (Namespace): Of ``fastsegformer_cli.options.add_output_options``.
        card (ModelCard): Of the model.

    Raises:
        DeployError: The grading rule or the masks of the part cannot be used.
    """
    return FrameSettings(
        masks=not args.no_masks,
        overlays=not args.no_overlays,
        opacity=args.opacity,
        overlay_format=args.overlay_format,
        quality=args.quality,
        grading=args.grading
        and read_grading(args.grading, card.classes, card.background),
        parts=args.part_masks and PartMasks(args.part_masks.absolute()),
        min_region=args.min_region,
        max_boxes=args.max_boxes,
        depth=args.depth,
    )


def say_left_out(inputs: Inputs) -> None:
    """Name the folders whose masks and overlays are no inputs.

    Args:
        inputs (Inputs): Of the tool.
    """
    for folder in inputs.left_out:
        print(
            f'{escaped(folder)}: results of an earlier run, left out', file=sys.stderr
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
        args (Namespace): Of the tool.
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
        'depth': settings.depth,
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
    # a console or log file of another character set
    with contextlib.suppress(AttributeError):
        sys.stdout.reconfigure(errors='backslashreplace')
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if outcome.frames:
        console.print(stage_table(report))
    said = f'{outcome.frames} frames into {escaped(str(folder.path))}'
    if outcome.skipped:
        said += f'; {outcome.skipped} inputs were done before'
    if outcome.dropped:
        said += f'; {outcome.dropped} frames were dropped for newer ones'
    print(said)
    if outcome.failed:
        print(f'{outcome.failed} could not be predicted on:', file=sys.stderr)
        for failure in outcome.failures:
            print(f'  {escaped(": ".join(failure))}', file=sys.stderr)
        more = outcome.failed - len(outcome.failures)
        if more:
            print(f'  and {more} more, see failures.jsonl', file=sys.stderr)
    for remark in outcome.remarks:
        print(escaped(': '.join(remark)), file=sys.stderr)
    if outcome.error is not None:
        error = outcome.error
        text = str(error) if isinstance(error, (DeployError, OSError)) else repr(error)
        print(
            f'error: broke off: {escaped(" ".join(text.split()))}. What is written is '
            'complete: the same command goes on from there',
            file=sys.stderr,
        )
        return BROKE_OFF
    if outcome.interrupted:
        print('interrupted: the same command goes on from here', file=sys.stderr)
        return INTERRUPTED
    return FAILED if outcome.failed else 0


def stop(error: BaseException) -> int:
    """Say in one line why nothing was begun; the exit code."""
    print('error:', escaped(' '.join(str(error).split())), file=sys.stderr)
    return USAGE
