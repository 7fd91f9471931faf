"""Options that more than one tool has."""

import argparse
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from .commands import tools_folder

EXIT_CODES = (
    'Exit code: 0 all is done, 1 all but some files, which are listed, 2 nothing was '
    'begun, 3 it broke off (as on a full disk), 130 interrupted.'
)
BACKENDS = ('auto', 'torch', 'compile', 'onnxruntime', 'openvino')
PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8')
PICTURE_FORMATS = ('jpg', 'png', 'webp')


def find_config(name: str) -> str:
    """Path of a config, which may be the name of one of this package's.

    Args:
        name (str): A file's path is given back as it is, as is a name that none or
            more than one of the package's configs have.
    """
    if not name.endswith('.py') or os.path.exists(name):
        return name
    root = tools_folder().parent
    found = [
        path
        for folder in ('configs', 'projects')
        for path in root.joinpath(folder).rglob(Path(name).name)
    ]
    return str(found[0]) if len(found) == 1 else name


def add_config_options(
    parser: ArgumentParser,
    name: str = '--cfg-options',
    text: str = 'settings to override in the config',
) -> None:
    """Add an option of KEY=VALUE pairs, which :func:`config_options` reads.

    Args:
        parser (ArgumentParser): Gets it; a group of options will do.
        name (str): Of the option. Defaults to ``--cfg-options``.
        text (str): What it does.
    """
    parser.add_argument(
        name, nargs='+', action='extend', type=pair, metavar='KEY=VALUE', help=text
    )


def pair(text: str) -> str:
    """A KEY=VALUE pair as it is.

    Raises:
        ArgumentTypeError: It is none.
    """
    if '=' not in text.lstrip('='):
        raise argparse.ArgumentTypeError(f'{text!r} is no KEY=VALUE')
    return text


def config_options(pairs: Sequence[str] | None) -> dict | None:
    """What ``Config.merge_from_dict`` takes, as MMEngine reads the pairs.

    Args:
        pairs (Sequence[str], optional): As KEY=VALUE. None gives None.
    """
    if pairs is None:
        return None
    from mmengine.config import DictAction

    parser = ArgumentParser()
    parser.add_argument('--pairs', nargs='+', action=DictAction)
    return parser.parse_args(['--pairs', *pairs]).pairs


def add_model_options(parser: ArgumentParser, threads: str = 'default: all') -> None:
    """Add the options that choose and run the model.

    Args:
        parser (ArgumentParser): Gets them.
        threads (str): What the default number is.
    """
    group = parser.add_argument_group('model')
    group.add_argument('--checkpoint', help='weights, where MODEL is a config')
    group.add_argument('--backend', default='auto', choices=BACKENDS)
    group.add_argument('--device', default='auto', help='auto, cpu or cuda:N')
    group.add_argument('--threads', type=int, help=f'of the runtime ({threads})')
    group.add_argument('--precision', default='auto', choices=('auto', *PRECISIONS))
    add_config_options(group)


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
        '--overlay-format', choices=PICTURE_FORMATS, default='jpg', help='default: jpg'
    )
    group.add_argument(
        '--quality', type=int, default=90, help='of jpg and webp (default: 90)'
    )
    group.add_argument(
        '--depth',
        type=int,
        metavar='BITS',
        help='bits in use of 16-bit images, 9 to 16: with 12, 4095 is white '
        '(default: such images are refused)',
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
    if args.depth is not None and not 9 <= args.depth <= 16:
        parser.error(f'--depth is {args.depth}: expected 9 to 16')
    if not 1 <= args.quality <= 100:
        parser.error(f'--quality is {args.quality}: expected 1 to 100')


def conversion_parser(description: str, epilog: str | None = None) -> ArgumentParser:
    """The command line of a converter of checkpoints.

    Args:
        description (str): What is converted; the first lines of ``--help``.
        epilog (str, optional): The last lines of ``--help``. Defaults to None.
    """
    parser = ArgumentParser(description=description, epilog=epilog)
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
    return parser
