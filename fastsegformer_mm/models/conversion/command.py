"""What a converter does when it has read its command line."""

from .converter import convert_checkpoint
from .recognition import recognise


def run_command(args, recognise=recognise):
    """Convert the checkpoint that the command line names, and say what it is.

    Args:
        args (Namespace): Of :func:`fastsegformer_cli.options.conversion_parser`.
        recognise (Callable): As :func:`.converter.convert_state_dict`.

    Raises:
        SystemExit: The checkpoint cannot be converted; the message says why.
    """
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
