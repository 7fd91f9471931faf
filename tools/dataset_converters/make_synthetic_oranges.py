"""Make a seeded set of synthetic navel oranges in VOC layout.

Example:
    fastsegformer synthetic-oranges data/synthetic_oranges --num 100 --seed 0
"""
import argparse
import sys
import time

from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import INTERRUPTED, run_tool


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('dst', help='folder to write, absent or empty')
    parser.add_argument(
        '--num', type=int, default=100, help='number of images (default: 100)')
    parser.add_argument(
        '--size', type=int, default=512,
        help='side of the square images in pixels (default: 512)')
    parser.add_argument('--seed', type=int, default=0, help='seed (default: 0)')
    parser.add_argument(
        '--ratios', type=float, nargs=3, default=(6, 2, 2),
        metavar=('TRAIN', 'VAL', 'TEST'),
        help='shares of the splits (default: 6 2 2)')
    parser.add_argument(
        '--workers', type=int, default=None,
        help='processes; changes the speed only (default: one a processor)')
    parser.add_argument(
        '--force', action='store_true',
        help='replace a set that this tool made in DST')
    return parser.parse_args()


def main():
    args = parse_args()
    quiet()
    from mmengine.utils import ProgressBar

    from fastsegformer_mm.datasets.synthetic import write_set

    start = time.time()
    bar = ProgressBar(args.num) if sys.stdout.isatty() else None
    try:
        record = write_set(
            args.dst, args.num, args.size, args.seed, args.ratios, args.workers,
            args.force, bar.update if bar else None)
    except (FileExistsError, ValueError) as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print(f'\ninterrupted: nothing was written to {args.dst}', file=sys.stderr)
        return INTERRUPTED
    counts = ', '.join(f'{n} {s}' for s, n in record['images'].items())
    shares = ', '.join(
        f'{name} {share} %' for name, share in record['percent_of_pixels'].items())
    print(f'\n{args.num} images in {time.time() - start:.1f} s: {args.dst}')
    print(f'splits: {counts}\npixels: {shares}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
