"""Export a trained network as one file for ONNX Runtime, TensorRT or OpenVINO.

Classes, colours, input size, normalisation, version and the weights' checksum are in
the file. It is compared with MMSegmentation's own results before it is kept: on the
config's test set, on the images that you name, or, where neither is there, on drawn
ones. The table is printed, and written as JSON beside the file.

Exit code 0: written. 1: it differs by more than allowed, and was not written; what was
there stays. 2: it could not be made. 130: it was stopped, and left nothing.

Examples:
    fastsegformer export CONFIG CHECKPOINT --out orange.onnx
    fastsegformer export CONFIG CHECKPOINT --format openvino \
        --precision bf16 --with-pre --with-post --out orange.xml
    fastsegformer export CONFIG CHECKPOINT --format openvino \
        --precision int8 --max-drop 0.2 --split val --num 0 --out orange_int8.xml
"""

import argparse
import sys
from pathlib import Path

from fastsegformer_cli.options import (
    PRECISIONS,
    add_config_options,
    config_options,
    find_config,
)
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

FORMATS = ('onnx', 'openvino')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', type=find_config, help='config of the network')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--out', required=True, type=Path, help='.onnx or .xml')
    parser.add_argument('--format', choices=FORMATS, help="default: --out's ending")
    parser.add_argument(
        '--shape',
        nargs='+',
        metavar='PIXELS',
        help="height and width of the network's input, or 'dynamic' for any; default: "
        'those of the test pipeline',
    )
    parser.add_argument('--batch', choices=('1', 'dynamic'), default='1')
    parser.add_argument('--precision', choices=PRECISIONS, default='fp32')
    parser.add_argument(
        '--with-pre',
        action='store_true',
        help='take uint8 BGR frames of any size, (1, H, W, 3): resizing and '
        'normalisation inside the graph',
    )
    parser.add_argument(
        '--with-post',
        action='store_true',
        help="give uint8 masks at the frame's size, (1, H, W)",
    )
    parser.add_argument(
        '--no-reparameterize',
        action='store_true',
        help='export the network as it was trained, not its faster deploy form',
    )
    parser.add_argument(
        '--calibration',
        type=int,
        default=300,
        metavar='N',
        help='images of the training set that calibrate int8 (default: %(default)s)',
    )
    parser.add_argument(
        '--max-drop',
        type=float,
        metavar='POINTS',
        help='mIoU that int8 may lose (OpenVINO): where it would lose more, the layers '
        'that hurt stay in float',
    )
    parser.add_argument(
        '--split', help='compare on this split of the config: train, val or test'
    )
    parser.add_argument('--images', nargs='+', default=[], help='compare on these')
    parser.add_argument(
        '--labels', help='folder with a PNG of class indices for each of --images'
    )
    parser.add_argument(
        '--num',
        type=int,
        default=100,
        help='compare on so many, evenly spread; 0 for all (default: %(default)s)',
    )
    add_config_options(
        parser,
        '--tolerance',
        'allow this: logits (difference as share of the largest), equal (share of '
        'pixels), miou (points lost), as in equal=0.998',
    )
    parser.add_argument('--threads', type=int, help='of the runtime (default: all)')
    add_config_options(parser)
    return parser.parse_args(argv)


def shape_of(values):
    """The option as :class:`ExportOptions` takes it."""
    if values is None or values == ['dynamic']:
        return values and values[0]
    return tuple(int(v) if v.isdigit() else v for v in values)


def main(argv=None):
    args = parse_args(argv)
    # imports that take seconds come after the command line
    quiet()
    from rich.console import Console

    from fastsegformer_mm.deploy.export import (
        ExportOptions,
        ParityError,
        export_model,
        report_path,
    )
    from fastsegformer_mm.deploy.export.options import SUFFIX
    from fastsegformer_mm.deploy.export.table import parity_table

    by_ending = {suffix: name for name, suffix in SUFFIX.items()}
    options = ExportOptions(
        format=args.format or by_ending.get(args.out.suffix, 'onnx'),
        shape=shape_of(args.shape),
        batch=1 if args.batch == '1' else args.batch,
        precision=args.precision,
        with_pre=args.with_pre,
        with_post=args.with_post,
        reparameterize=not args.no_reparameterize,
        calibration=args.calibration,
        max_drop=args.max_drop,
        tolerance=config_options(args.tolerance) or {},
        split=args.split,
        images=args.images,
        labels=args.labels,
        num=args.num,
        threads=args.threads,
    )
    console = Console()
    title = f'{args.out.name}: {options.format}, {options.precision}'
    try:
        found = export_model(
            args.config,
            args.checkpoint,
            args.out,
            options,
            config_options(args.cfg_options),
        )
    except ParityError as error:
        console.print(parity_table(error.parity, title))
        print(f'error: {error}', file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted: nothing was written', file=sys.stderr)
        return 130
    console.print(parity_table(found, title))
    print(f'wrote {args.out}, report in {report_path(args.out)}')
    return 0


if __name__ == '__main__':
    sys.exit(run_tool(main))
