"""Speed, memory and agreement of networks on every runtime.

Each combination of network, runtime and precision runs in a process of its own. One
computes at a time; the order turns with every round. Times are of the network, the
preprocessing, the postprocessing and all together, as a ratio to eager PyTorch in
float32 of the same network and to the reference loop (how the official project treats
a frame) in the same rounds.

The networks of the paper's plots, with their test sets:

    fastsegformer benchmark \
        configs/fastsegformer/fastsegformer-e_...py=e.pth \
        configs/fastsegformer/fastsegformer-p_...py=p.pth \
        configs/comparison/fast-scnn_1xb32-100e_neu-seg-224x224.py=fast-scnn.pth \
        --images data/neu_seg/images/test --evaluate --out work_dirs/benchmark

With artefacts, an INT8 one among them, and a chosen set of runtimes:

    fastsegformer benchmark CONFIG.py=CHECKPOINT.pth e_int8.xml \
        --backends torch openvino:fp32 openvino:bf16 reference --threads 2

What each pass of the reparameterization gains, one after the other:

    fastsegformer benchmark CONFIG.py=CHECKPOINT.pth --passes \
        --backends torch onnxruntime openvino

Results of several machines side by side, ratios within each run only:

    fastsegformer benchmark --merge a/benchmark.json b/benchmark.json
"""

import argparse
import sys
import tempfile
from pathlib import Path

from fastsegformer_cli.options import PRECISIONS, add_config_options, config_options
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

FAILED, USAGE, INTERRUPTED = 1, 2, 130
# those of fastsegformer_mm.deploy.benchmark
BACKENDS = ('reference', 'torch', 'torch+reparam', 'compile', 'onnxruntime', 'openvino')
DEFAULT_BACKENDS = (
    'reference',
    'torch',
    'torch+reparam',
    'onnxruntime',
    'openvino',
    'openvino:bf16',
)
MIN_WARMUPS = 50


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f'Exit code: 0 all measured, {FAILED} a combination has failed, '
        f'{USAGE} the command cannot be carried out, {INTERRUPTED} interrupted: what '
        'was measured by then is written.',
    )
    parser.add_argument(
        'models',
        nargs='*',
        metavar='CONFIG[=CHECKPOINT]',
        help='without a checkpoint the weights are random, and every table says so; or '
        'an artefact, MODEL.onnx or MODEL.xml',
    )
    parser.add_argument(
        '--backends',
        nargs='+',
        metavar='NAME[:PRECISION]',
        help=f'of {", ".join(BACKENDS)}; default: '
        f'{" ".join(DEFAULT_BACKENDS)}, with --passes torch onnxruntime '
        'openvino. Eager torch is always measured',
    )
    parser.add_argument(
        '--precisions',
        nargs='+',
        default=['fp32'],
        choices=PRECISIONS,
        help='of the runtimes that are named without one; default: fp32',
    )
    parser.add_argument(
        '--passes',
        action='store_true',
        help='measure with none, the first, the first two ... passes of the '
        'reparameterization',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda:N; default: cpu')
    parser.add_argument('--threads', type=int, help='default: one a core')
    parser.add_argument(
        '--streams',
        nargs='+',
        type=int,
        default=[],
        metavar='N',
        help='measure ONNX Runtime and OpenVINO as predict.py runs them as well, N '
        'frames side by side and others prepared meanwhile: time a frame of many, not '
        'until one is done',
    )
    parser.add_argument(
        '--images', help='folder of frames; default: synthetic navel oranges'
    )
    parser.add_argument(
        '--frame-size', type=int, nargs=2, default=(512, 512), metavar=('H', 'W'),
        help='frames are resized to it; default: 512 512',
    )  # fmt: skip
    parser.add_argument(
        '--frames', type=int, default=8, help='how many different ones; default: 8'
    )
    parser.add_argument(
        '--warmups',
        type=int,
        default=MIN_WARMUPS,
        help=f'of each stage, before its first timed run; default and least: '
        f'{MIN_WARMUPS}',
    )
    parser.add_argument(
        '--runs',
        type=int,
        default=20,
        help='timed of a stage in a round; default: 20',
    )
    parser.add_argument('--rounds', type=int, default=5, help='default: 5')
    parser.add_argument(
        '--trial',
        action='store_true',
        help='allow fewer warm-ups; tables say that its figures are not to be quoted',
    )
    parser.add_argument(
        '--evaluate',
        action='store_true',
        help="mIoU and share of equal pixels on each config's test set",
    )
    parser.add_argument(
        '--miou',
        nargs='+',
        default=[],
        metavar='NAME=VALUE',
        help='mIoU measured elsewhere, percent or the JSON file of a test, of a '
        'network in fp32 or of a combination by its label',
    )
    parser.add_argument(
        '--one-model-at-a-time',
        action='store_true',
        help='little memory: the processes of one network at a time',
    )
    parser.add_argument(
        '--timeout', type=float, default=900, help='seconds an answer; default: 900'
    )
    add_config_options(parser, text='settings to override in all configs')
    parser.add_argument(
        '--merge', nargs='+', metavar='JSON', help='show earlier runs, measure nothing'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark'))
    args = parser.parse_args(argv)
    args.streams = list(dict.fromkeys(args.streams))
    return args


def main(argv=None, start=None) -> int:
    args = parse_args(argv)
    # imports that take seconds come after the command line
    quiet()
    from rich.console import Console

    from fastsegformer_mm.deploy.benchmark import results
    from fastsegformer_mm.deploy.errors import DeployError

    # in a log file a line is as long as the table
    console = Console() if sys.stdout.isatty() else Console(width=160)
    try:
        if args.merge:
            if args.models:
                raise DeployError('--merge measures nothing; leave out the networks')
            runs = results.read_runs(args.merge)
            miou = results.read_miou(args.miou)
            for run in runs:
                results.derive(run, miou)
            finish(console, args.out, runs)
            return 0
        return measure(console, args, start)
    except DeployError as error:
        print(f'error: {error}', file=sys.stderr)
        return USAGE


def measure(console, args, start) -> int:
    from fastsegformer_mm.deploy.benchmark import combination as combinations
    from fastsegformer_mm.deploy.benchmark import machine, results
    from fastsegformer_mm.deploy.benchmark.frames import read_frames, synthetic_frames
    from fastsegformer_mm.deploy.benchmark.process import Process, environment_of
    from fastsegformer_mm.deploy.benchmark.rounds import Rounds
    from fastsegformer_mm.deploy.benchmark.settings import Settings
    from fastsegformer_mm.deploy.errors import DeployError
    from fastsegformer_mm.deploy.threads import usable_cores

    if not args.models:
        raise DeployError('name a config, CONFIG.py=CHECKPOINT.pth, or an artefact')
    models = combinations.read_models(args.models)
    miou = results.read_miou(args.miou)
    settings = Settings(
        args.threads or usable_cores(),
        args.warmups,
        args.runs,
        args.rounds,
        args.device,
        args.evaluate,
        args.one_model_at_a_time,
        args.timeout,
        args.trial,
        config_options(args.cfg_options) or {},
        args.streams,
    )
    chosen = choose(args, models)
    results.check_names(miou, chosen)
    if args.images:
        frames = read_frames(args.images, tuple(args.frame_size), args.frames)
    else:
        frames = synthetic_frames(tuple(args.frame_size), args.frames)
    images = {
        'source': args.images or 'synthetic navel oranges',
        'size': list(args.frame_size),
        'frames': len(frames),
    }
    run = results.new_run(
        settings,
        images,
        machine.describe_machine(),
        machine.describe_versions(),
        machine.describe_environment(environment_of(settings.threads)),
    )
    args.out.mkdir(parents=True, exist_ok=True)
    logs = args.out / 'logs'
    logs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix='benchmark-') as scratch:
        rounds = Rounds(
            settings,
            scratch,
            logs,
            lambda line: console.print(line, markup=False, highlight=False),
            start or Process,
            lambda: results.write_runs(args.out / 'benchmark.json', [run]),
        )
        run['models'], run['entries'] = rounds.models, rounds.entries
        interrupted = False
        try:
            rounds.run(chosen, frames)
            run['complete'] = True
        except KeyboardInterrupt:
            interrupted = True
    results.derive(run, miou)
    finish(console, args.out, [run])
    if interrupted:
        return INTERRUPTED
    return FAILED if any(e['status'] == 'failed' for e in run['entries']) else 0


def choose(args, models):
    from fastsegformer_mm.deploy.benchmark import combination as combinations
    from fastsegformer_mm.deploy.errors import DeployError

    if not args.passes:
        pairs = combinations.read_backends(
            args.backends or DEFAULT_BACKENDS, args.precisions
        )
        return combinations.combinations_of(models, pairs, args.streams)
    if args.streams:
        raise DeployError('--passes measures one frame at a time; leave out --streams')
    from fastsegformer_mm.deploy.reparameterize import PASSES

    pairs = combinations.read_backends(
        args.backends or ('torch', 'onnxruntime', 'openvino'), args.precisions
    )
    return combinations.pass_combinations(models, pairs, tuple(PASSES))


def finish(console, folder, runs):
    from fastsegformer_mm.deploy.benchmark import report

    files = report.write(folder, runs)
    report.show(console, runs)
    for line in report.missing(runs):
        console.print(f'no point in the pictures: {line}', highlight=False)
    console.print(f'wrote {", ".join(map(str, files))}', highlight=False)


if __name__ == '__main__':
    sys.exit(run_tool(main))
