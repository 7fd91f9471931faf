"""Find defects in images with many workers, on one machine or more, by Ray Data.

The outputs are those of fastsegformer predict, and either goes on where the other was
interrupted; a worker that is killed is started again, and each image is in the
records once. Without --address Ray is started here and ended with the tool. With a
cluster, MODEL, the images, part masks and DIR have to lie on file systems that all
machines share, under the same paths, and all need fastsegformer-mm[ray].

Examples:
    fastsegformer predict-ray model.onnx photos/ --out results --workers 8
    fastsegformer predict-ray /plant/model.xml '/plant/line?/*.jpg' \
        --out /plant/results --address 10.0.0.5:6379 --cpus-per-worker 2
"""

import argparse
import functools
import os
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
        help='image, folder (with its subfolders), or glob in quotes',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='DIR')
    add_model_options(parser, 'default: its CPUs')
    add_output_options(parser)
    group = parser.add_argument_group('workers')
    group.add_argument(
        '--address',
        metavar='HOST:PORT',
        help='of a Ray cluster, or auto for that of this machine (default: Ray is '
        'started here)',
    )
    group.add_argument(
        '--workers', type=int, metavar='N', help='default: as many as there is room for'
    )
    group.add_argument(
        '--cpus-per-worker', type=float, default=1, metavar='N', help='default: 1'
    )
    group.add_argument(
        '--gpus-per-worker',
        type=float,
        metavar='N',
        help='parts of one are possible (default: 0, with --device cuda 1)',
    )
    group.add_argument(
        '--batch-size',
        type=int,
        default=8,
        metavar='N',
        help='images that a worker gets at a time (default: 8)',
    )
    parser.add_argument(
        '--limit', type=int, metavar='N', help='read the first N inputs only'
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove what an earlier run has left in DIR, and begin anew',
    )
    args = parser.parse_args(argv)
    check_ranges(
        parser,
        args,
        {'workers': 1, 'cpus_per_worker': 0.1, 'gpus_per_worker': 0, 'batch_size': 1},
    )
    if args.gpus_per_worker is None:
        args.gpus_per_worker = float(args.device.startswith('cuda'))
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
    from fastsegformer_mm.deploy.prediction.ray_prediction import check_images
    from fastsegformer_mm.deploy.prediction.ray_session import import_ray
    from fastsegformer_mm.engine.checkpoint import CheckpointError

    args.cfg_options = config_options(args.cfg_options)
    segmentor = segmentor or DefectSegmentor
    try:
        import_ray()
        inputs = find_inputs(args.inputs, args.out)
        say_left_out(inputs)
        inputs = replace(inputs, sources=inputs.sources[: args.limit])
        check_images(inputs)
        build = functools.partial(
            segmentor,
            everywhere(args.model),
            backend=args.backend,
            device=args.device,
            threads=args.threads or max(int(args.cpus_per_worker), 1),
            precision=args.precision,
            checkpoint=args.checkpoint and everywhere(args.checkpoint),
            cfg_options=args.cfg_options,
        )
        # here first: one clear error instead of one from each worker
        with build() as model:
            card = model.card
        settings = frame_settings(args, card)
        run = identity(args, card, settings, inputs.root, StreamSettings())
        with RunFolder(args.out, run, args.overwrite) as folder:
            return predict(args, build, card, inputs, folder, settings)
    except (DeployError, CheckpointError, OSError) as error:
        return stop(error)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return INTERRUPTED


def everywhere(path: str) -> str:
    """As a worker in another folder finds it; addresses stay."""
    return os.path.abspath(path) if os.path.exists(path) else path


def predict(args, build, card, inputs, folder, settings) -> int:
    from fastsegformer_mm.deploy.prediction.options import finish, options_used
    from fastsegformer_mm.deploy.prediction.progress import ProgressDisplay
    from fastsegformer_mm.deploy.prediction.ray_prediction import RayPrediction
    from fastsegformer_mm.deploy.prediction.run_report import run_report

    halt = threading.Event()
    with (
        ProgressDisplay(len(inputs.sources)) as progress,
        stopped_by_signals(halt, progress.say) as signals,
    ):
        outcome = RayPrediction(
            build,
            inputs,
            folder,
            settings,
            address=args.address,
            workers=args.workers,
            cpus=args.cpus_per_worker,
            gpus=args.gpus_per_worker,
            batch_size=args.batch_size,
            stop=halt,
            progress=progress,
        ).run()
        outcome.interrupted = bool(signals)
    report = run_report(outcome, card, options_used(args, inputs.sources), folder.kept)
    # the start of Ray and its workers is in it
    report['ratio_to_network'] = None
    return finish(outcome, report, folder)


if __name__ == '__main__':
    sys.exit(run_tool(main))
