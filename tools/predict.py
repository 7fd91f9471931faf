"""Find defects in images, folders, videos and cameras with a trained model.

Into DIR come overlays/ (the frames with classes in colour), masks/ (class indices;
of a video FFV1 without loss, whose grey value is the index), defects.jsonl and
defects.csv (per frame and class: share of pixels, regions, boxes; the grade) and
run.json (times, model, versions). The same command again goes on where an
interrupted one was; images that were changed since, and those that failed,
are read again. A camera or address is read until Ctrl-C.

Examples:
    fastsegformer predict model.onnx photos/ --out results
    fastsegformer predict config.py --checkpoint best.pth 'line?/*.jpg' belt.mp4 \
        --out results --grading configs/grading/navel_orange.yml
    fastsegformer predict model.xml rtsp://camera.local/stream --out results
"""

import argparse
import sys
import threading
from dataclasses import replace
from pathlib import Path

from fastsegformer_cli.options import (
    EXIT_CODES,
    add_model_options,
    add_output_options,
    check_ranges,
    config_options,
    find_config,
)
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool, stopped_by_signals


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES,
    )
    parser.add_argument(
        'model', type=find_config, help='exported .onnx or .xml, or a config file'
    )
    parser.add_argument(
        'inputs',
        nargs='+',
        metavar='INPUT',
        help="image, folder (with its subfolders), glob in quotes, video, camera's "
        'number, or address (rtsp://...)',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    add_model_options(parser)
    add_output_options(parser)
    streams = parser.add_argument_group('videos and cameras')
    streams.add_argument(
        '--every', type=int, default=1, metavar='N', help='process every Nth frame'
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
        '--streams',
        type=int,
        metavar='N',
        help='frames that the network has at a time, each on its share of the threads: '
        'more a second, each of them later (default: one a thread, 4 at most, where '
        'the runtime can; 1 where a camera is read)',
    )
    parser.add_argument(
        '--workers', type=int, metavar='N', help='threads that decode and draw'
    )
    parser.add_argument(
        '--timeout',
        type=float,
        default=120.0,
        metavar='SECONDS',
        help='break off where the network has not answered for so long (default: 120)',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove what an earlier run has left in DIR, and begin anew',
    )
    args = parser.parse_args(argv)
    least = {'every': 1, 'max_frames': 1, 'streams': 1, 'workers': 1, 'timeout': 1}
    check_ranges(parser, args, {**least, 'reconnect': 0})
    if not args.segment_minutes > 0:
        parser.error(f'--segment-minutes is {args.segment_minutes}: expected above 0')
    return args


def main(argv=None, segmentor=None) -> int:
    args = parse_args(argv)
    # imports that take seconds come after the command line
    quiet()
    from fastsegformer_mm.deploy import DefectSegmentor
    from fastsegformer_mm.deploy.errors import DeployError
    from fastsegformer_mm.deploy.prediction import (
        RunFolder,
        StreamSettings,
        find_inputs,
    )
    from fastsegformer_mm.deploy.prediction.options import (
        INTERRUPTED,
        frame_settings,
        identity,
        say_left_out,
        stop,
    )
    from fastsegformer_mm.engine.checkpoint import CheckpointError

    args.cfg_options = config_options(args.cfg_options)
    segmentor = segmentor or DefectSegmentor
    try:
        # before the model is loaded, which takes longer
        inputs = find_inputs(args.inputs, args.out, args.reconnect)
        say_left_out(inputs)
        inputs = replace(inputs, sources=inputs.sources[: args.limit])
        live = any(source.kind == 'live' for source in inputs.sources)
        model = segmentor(
            args.model,
            backend=args.backend,
            device=args.device,
            threads=args.threads,
            precision=args.precision,
            checkpoint=args.checkpoint,
            cfg_options=args.cfg_options,
            streams=args.streams or (1 if live else 'auto'),
            # a camera's frame is to come out soon, not many of them a second
            overlap=False if live else 'auto',
            timeout=args.timeout,
        )
        settings = frame_settings(args, model.card)
        streams = StreamSettings(
            args.every, args.max_frames, args.segment_minutes, args.video_format
        )
        run = identity(args, model.card, settings, inputs.root, streams)
        with RunFolder(args.out, run, args.overwrite) as folder:
            return predict(args, model, inputs, folder, settings, streams)
    except (DeployError, CheckpointError, OSError) as error:
        return stop(error)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return INTERRUPTED


def predict(args, model, inputs, folder, settings, streams) -> int:
    from fastsegformer_mm.deploy.prediction import Prediction
    from fastsegformer_mm.deploy.prediction.options import finish, options_used
    from fastsegformer_mm.deploy.prediction.progress import ProgressDisplay
    from fastsegformer_mm.deploy.prediction.run_report import run_report

    halt = threading.Event()
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
    options = options_used(args, inputs.sources)
    report = run_report(outcome, model.card, options, folder.kept)
    return finish(outcome, report, folder)


def frames_to_come(args, inputs) -> int | None:
    """Frames of all inputs; None where a camera never ends."""
    from fastsegformer_mm.deploy.prediction import InputError

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
            except InputError:
                count = 1  # the failure
            count = min(count, args.max_frames or count)
        total += count
    return total


if __name__ == '__main__':
    sys.exit(run_tool(main))
