"""Find defects in images, folders, videos and cameras with a trained model.

Into DIR come overlays/ (the frames with classes in colour), masks/ (class indices;
of a video FFV1 without loss, whose grey value is the index), defects.jsonl and
defects.csv (per frame and class: share of pixels, regions, boxes; the grade) and
run.json (times, model, versions). The same command again goes on where an
interrupted one was; images that were changed since, and those that could not be
read, are read again. A camera or address is read until Ctrl-C.

Examples:
    python tools/predict.py model.onnx photos/ --out results
    python tools/predict.py config.py --checkpoint best.pth 'line?/*.jpg' belt.mp4 \
        --out results --grading configs/grading/navel_orange.yml
    python tools/predict.py model.xml rtsp://camera.local/stream --out results
"""

import argparse
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console

from fastsegformer_mm.deploy import DefectSegmentor
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import (
    FrameSettings,
    PartMasks,
    Prediction,
    ReadError,
    RunFolder,
    StreamSettings,
    find_inputs,
    read_grading,
    stopped_by_signals,
)
from fastsegformer_mm.deploy.prediction.finish import FORMATS
from fastsegformer_mm.deploy.prediction.progress import ProgressDisplay
from fastsegformer_mm.deploy.prediction.run_folder import REPORT
from fastsegformer_mm.deploy.prediction.run_report import (
    report_bytes,
    run_report,
    stage_table,
)
from fastsegformer_mm.engine.checkpoint import CheckpointError

UNREADABLE, USAGE, BROKE_OFF, INTERRUPTED = 1, 2, 3, 130


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'Exit code: 0 all was read, {UNREADABLE} some files could not be, '
        f'{USAGE} nothing was begun, {BROKE_OFF} it broke off (as on a full disk), '
        f'{INTERRUPTED} interrupted.',
    )
    parser.add_argument('model', help='exported .onnx or .xml, or a config file')
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help="image, folder (with its subfolders), glob in quotes, video, camera's "
        'number, or address (rtsp://...)',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    model = parser.add_argument_group('model')
    model.add_argument('--checkpoint', help='weights, where MODEL is a config')
    model.add_argument(
        '--backend',
        default='auto',
        choices=('auto', 'torch', 'compile', 'onnxruntime', 'openvino'),
    )
    model.add_argument('--device', default='auto', help='auto, cpu or cuda:N')
    model.add_argument('--threads', type=int, help='of the runtime (default: all)')
    model.add_argument(
        '--precision',
        default='auto',
        choices=('auto', 'fp32', 'bf16', 'fp16', 'int8'),
    )
    model.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings to override in the config, as key=value',
    )
    outputs = parser.add_argument_group('outputs')
    outputs.add_argument(
        '--grading',
        type=Path,
        metavar='FILE',
        help='rule that gives grades, as configs/grading/navel_orange.yml',
    )
    outputs.add_argument(
        '--part-masks',
        type=Path,
        metavar='DIR',
        help='NAME.png for each image NAME, not 0 where the fruit or part is; or one '
        'file for all',
    )
    outputs.add_argument(
        '--opacity', type=float, default=0.5, help='of the colours (default: 0.5)'
    )
    outputs.add_argument(
        '--overlay-format', choices=FORMATS, default='jpg', help='default: jpg'
    )
    outputs.add_argument(
        '--quality', type=int, default=90, help='of jpg and webp (default: 90)'
    )
    outputs.add_argument('--no-overlays', action='store_true')
    outputs.add_argument('--no-masks', action='store_true')
    outputs.add_argument(
        '--min-region',
        type=int,
        default=1,
        metavar='PIXELS',
        help='smaller regions are not counted (default: 1)',
    )
    outputs.add_argument(
        '--max-boxes',
        type=int,
        default=100,
        metavar='N',
        help='of a class in a frame, the largest (default: 100)',
    )
    streams = parser.add_argument_group('videos and cameras')
    streams.add_argument(
        '--every', type=int, default=1, metavar='N', help='each Nth frame only'
    )
    streams.add_argument('--max-frames', type=int, metavar='N', help='of each at most')
    streams.add_argument(
        '--video-format',
        choices=('mp4', 'mkv'),
        default='mp4',
        help='of overlays; of a camera, mkv is kept as far as it came when the power '
        'fails (default: mp4)',
    )
    streams.add_argument(
        '--segment-minutes',
        type=float,
        default=10.0,
        metavar='M',
        help='a camera gets a new video file after so many (default: 10)',
    )
    streams.add_argument(
        '--reconnect',
        type=int,
        default=5,
        metavar='N',
        help='attempts in a row to reach a camera again (default: 5)',
    )
    parser.add_argument(
        '--limit', type=int, metavar='N', help='read the first N inputs only'
    )
    parser.add_argument(
        '--workers', type=int, metavar='N', help='threads that decode and draw'
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove what an earlier run has left in DIR, and begin anew',
    )
    args = parser.parse_args(argv)
    for name, least in {
        'threads': 1,
        'every': 1,
        'max_frames': 1,
        'limit': 1,
        'workers': 1,
        'min_region': 1,
        'max_boxes': 0,
        'reconnect': 0,
    }.items():
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(
                f'--{name.replace("_", "-")} is {value}: expected {least} or more'
            )
    if not 0 <= args.opacity <= 1:
        parser.error(f'--opacity is {args.opacity}: expected 0 to 1')
    if not 1 <= args.quality <= 100:
        parser.error(f'--quality is {args.quality}: expected 1 to 100')
    if not args.segment_minutes > 0:
        parser.error(f'--segment-minutes is {args.segment_minutes}: expected above 0')
    return args


def main(argv=None, segmentor=DefectSegmentor) -> int:
    args = parse_args(argv)
    try:
        # before the model is loaded, which takes longer
        inputs = find_inputs(args.inputs, args.out, args.reconnect)
        inputs = replace(inputs, sources=inputs.sources[: args.limit])
        parts = PartMasks(args.part_masks) if args.part_masks else None
        model = segmentor(
            args.model,
            backend=args.backend,
            device=args.device,
            threads=args.threads,
            precision=args.precision,
            checkpoint=args.checkpoint,
            cfg_options=args.cfg_options,
        )
        settings = FrameSettings(
            masks=not args.no_masks,
            overlays=not args.no_overlays,
            opacity=args.opacity,
            overlay_format=args.overlay_format,
            quality=args.quality,
            grading=args.grading and read_grading(args.grading, model.card.classes),
            parts=parts,
            min_region=args.min_region,
            max_boxes=args.max_boxes,
        )
        folder = RunFolder(
            args.out, identity(args, model.card, settings, inputs.root), args.overwrite
        )
        with folder:
            return predict(args, model, inputs, folder, settings)
    except (DeployError, CheckpointError, OSError) as error:
        return stop(error)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return INTERRUPTED


def stop(error) -> int:
    print('error:', ' '.join(str(error).split()), file=sys.stderr)
    return USAGE


def identity(args, card, settings, root) -> dict:
    """What decides what comes out: another one is another run."""
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
        'every': args.every,
        'max frames': args.max_frames,
        'video format': args.video_format,
    }


def predict(args, model, inputs, folder, settings) -> int:
    halt = threading.Event()
    streams = StreamSettings(
        args.every, args.max_frames, args.segment_minutes, args.video_format
    )
    with (
        ProgressDisplay(frames_to_come(args, inputs)) as progress,
        stopped_by_signals(halt, progress.say) as signals,
    ):
        outcome = Prediction(
            model,
            inputs,
            folder,
            settings,
            streams,
            workers=args.workers,
            stop=halt,
            progress=progress,
            say=progress.say,
        ).run()
        outcome.interrupted = bool(signals)
    options = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(args).items()
    }
    # an address may hold a password
    options['inputs'] = [source.origin for source in inputs.sources[:20]]
    report = run_report(outcome, model.card, options, folder.kept)
    return finish(outcome, report, folder)


def frames_to_come(args, inputs) -> int | None:
    """Frames of all inputs; None where a camera never ends."""
    total = 0
    for source in inputs.sources:
        count = 1
        if source.kind == 'live':
            if args.max_frames is None:
                return None
            count = args.max_frames
        elif source.kind == 'video':
            try:
                count = -(-source.count() // args.every)
            except ReadError:
                count = 1  # the failure
            count = min(count, args.max_frames or count)
        total += count
    return total


def finish(outcome, report, folder) -> int:
    """Show and write what was done; the exit code."""
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


if __name__ == '__main__':
    sys.exit(main())
