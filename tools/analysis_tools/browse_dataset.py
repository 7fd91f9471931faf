"""Draw what the pipeline of a config feeds its network, as a contact sheet.

An image that does not pass the pipeline is named and left out. Exit code 0: all
were drawn; 1: some were not; 2: nothing was drawn.

Examples:
    fastsegformer browse-data CONFIG --out sheet.jpg
    fastsegformer browse-data CONFIG --repeats 4 --number 6
    fastsegformer browse-data CONFIG --split test --shuffle
"""
import argparse
import itertools
import sys
import tempfile
from pathlib import Path

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

# of a side; JPEG files cannot hold more
MOST_PIXELS = 65_500


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the usage."""

    def error(self, message):
        self.exit(2, f'error: {message}\n')


def parse_args():
    parser = Parser(
        description='Draw what the pipeline of a config feeds its network: image, '
        'label and, in a distillation, what the student gets.'
    )
    parser.add_argument('config', type=find_config, help='config file')
    parser.add_argument(
        '--split',
        choices=('train', 'val', 'test'),
        default='train',
        help="which of the config's sets to draw (default: train)",
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('sheet.jpg'),
        help='picture to write, .jpg or .png; several pages get _1, _2 ... '
        '(default: sheet.jpg)',
    )
    parser.add_argument(
        '--number', type=int, default=12, help='images at most (default: 12)'
    )
    parser.add_argument(
        '--repeats',
        type=int,
        default=1,
        help='times that each image is augmented, side by side (default: 1)',
    )
    parser.add_argument(
        '--shuffle', action='store_true', help='take images at random, not the first'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='of every random choice (default: 0)'
    )
    parser.add_argument(
        '--tile',
        type=int,
        default=224,
        help='longer side of a picture on the sheet in pixels (default: 224)',
    )
    parser.add_argument(
        '--rows', type=int, default=6, help='rows of a page (default: 6)'
    )
    add_config_options(parser)
    args = parser.parse_args()
    for name, least in (('number', 1), ('repeats', 1), ('rows', 1), ('tile', 64),
                        ('seed', 0)):
        if getattr(args, name) < least:
            parser.error(f'--{name} is {getattr(args, name)}, expected {least} or more')
    # three pictures and a gap beside each other, or below each other with captions
    if 3 * max(args.repeats, args.rows) * (args.tile + 8) > MOST_PIXELS:
        parser.error(
            f'--repeats {args.repeats}, --rows {args.rows} and --tile {args.tile} make '
            f'a page of more than {MOST_PIXELS} pixels a side; lower one of them')
    if args.out.suffix.lower() not in ('.png', '.jpg', '.jpeg'):
        parser.error(f'--out is {args.out}, expected a name ending in .jpg or .png')
    if not Path(args.config).is_file():
        parser.error(f'{args.config}: no such config file')
    try:
        # before the work, which may take minutes
        args.out.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.out.parent).close()
    except OSError as error:
        parser.error(f'--out {args.out} cannot be written: {error.strerror}')
    return parser, args


def indices(dataset, args):
    """Which images to draw; of a PartlyLabelledDataset both kinds in turns."""
    total = len(dataset)
    number = min(args.number, total)
    if not args.shuffle:
        labelled = getattr(dataset, 'sizes', (total, 0))[0]
        turns = itertools.zip_longest(range(labelled), range(labelled, total))
        return [k for turn in turns for k in turn if k is not None][:number]
    import numpy as np

    return np.random.default_rng(args.seed).permutation(total)[:number].tolist()


def page_paths(out, count):
    """File of each page: that of --out, or numbered ones beside it."""
    if count == 1:
        return [out]
    digits = len(str(count))
    return [out.with_name(f'{out.stem}_{k:0{digits}}{out.suffix}')
            for k in range(1, count + 1)]


def draw(args):
    """Write the pages.

    Returns:
        tuple[list[Path], list[str]]: Their files, and a line for each image that
        cannot be drawn.

    Raises:
        ValueError, OSError: Why nothing can be drawn.
    """
    import mmcv
    from mmengine import Config
    from mmengine.registry import init_default_scope

    from fastsegformer_mm.visualization import NetworkFeed, contact_sheet

    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(config_options(args.cfg_options) or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    feed = NetworkFeed(cfg, args.split)
    chosen = indices(feed.dataset, args)
    if len(chosen) < args.number:
        print(f'{args.split} has {len(feed)} images, all are drawn')
    inputs, failures = [], []
    for k in chosen:
        try:
            inputs += [feed.get(k, args.seed, n) for n in range(args.repeats)]
        except ValueError as error:
            failures.append(one_line(error))
    if not inputs:
        raise ValueError(failures[0])
    pages = contact_sheet(
        inputs,
        feed.classes,
        feed.palette,
        per_row=args.repeats if args.repeats > 1 else 3,
        rows=args.rows,
        tile=args.tile,
        ignore_index=feed.ignore_index,
        background=feed.background,
        title=[
            f'{Path(args.config).stem}, {args.split}: '
            f'{len(chosen) - len(failures)} of {len(feed)} images'
            + (f', each {args.repeats} times' if args.repeats > 1 else ''),
            f'tensors are {feed.description}; sizes and scales are height x width',
        ],
    )
    paths = page_paths(args.out, len(pages))
    for path, page in zip(paths, pages):
        mmcv.imwrite(page[..., ::-1], str(path))
    return paths, failures


def one_line(error):
    """The text of an error, with what cannot be printed escaped."""
    from fastsegformer_mm.utils.names import escaped

    return escaped(' '.join(str(error).split()))


def main():
    parser, args = parse_args()
    quiet()
    try:
        paths, failures = draw(args)
    except (ValueError, OSError) as error:
        parser.error(one_line(error))
    for path in paths:
        print(f'contact sheet: {path.resolve()}')
    for failure in failures:
        print(f'not drawn: {failure}', file=sys.stderr)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(run_tool(main))
