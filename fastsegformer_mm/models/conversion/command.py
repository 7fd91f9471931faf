"""The command line of a converter."""

import argparse

from .converter import convert_checkpoint
from .recognition import recognise


def run_command(description, epilog=None, recognise=recognise):
    """Convert the checkpoint that the command line names, and say what it is.

    Args:
        description (str): What is converted; the first lines of ``--help``.
        epilog (str, optional): The last lines of ``--help``. Defaults to None.
        recognise (Callable): As :func:`.converter.convert_state_dict`.

    Raises:
        SystemExit: The checkpoint cannot be converted; the message says why.
    """
    args = _parse_args(description, epilog)
    try:
        conversion = convert_checkpoint(
            args.src, args.dst, args.force, args.dataset, recognise
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    network = conversion.network
    print(f'recognised {network.name} in {args.src}')
    print(f'  backbone:   {network.backbone_name}')
    if network.details:
        print(f'  decoder:    {", ".join(network.details)}')
    if network.num_classes is not None:
        print(f'  classes:    {network.num_classes}')
    print(f'  parameters: {conversion.num_parameters:,}')
    if conversion.dropped:
        print(f'  dropped, the classifier: {", ".join(conversion.dropped)}')
    if conversion.absent:
        print(f'  not in the file, to start untrained: {", ".join(conversion.absent)}')
    print(f'wrote {args.dst}')


def _parse_args(description, epilog):
    parser = argparse.ArgumentParser(description=description, epilog=epilog)
    parser.add_argument(
        'src',
        help='official checkpoint: the weights bare, under '
        "'state_dict' or under 'model'",
    )
    parser.add_argument('dst', help='checkpoint to write; its folder is made')
    parser.add_argument(
        '--force', action='store_true', help='write over DST if it exists'
    )
    parser.add_argument(
        '--dataset',
        help='registered data set that the network was trained on, such as '
        'NavelOrangeDataset: its class names and colours are stored for inference',
    )
    return parser.parse_args()
