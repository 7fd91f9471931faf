"""Say whether checkpoints hold the same weights, and where they differ."""

import argparse
import sys

from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args(args=None):
    parser = argparse.ArgumentParser(
        description='Print the SHA-256 of the weights of each checkpoint, and how '
        'those of the others differ from the first. The exit code is 0 if all are '
        'equal to the bit, 1 if not, 2 if one cannot be read.'
    )
    parser.add_argument('checkpoints', nargs='+', help='.pth or .safetensors')
    return parser.parse_args(args)


def weights_of(path):
    from fastsegformer_mm.engine.checkpoint import read_checkpoint

    content = read_checkpoint(path)
    return content.get('state_dict', content)


def main(args=None):
    args = parse_args(args)
    quiet()
    from fastsegformer_mm.engine.checkpoint.digest import (
        weights_difference,
        weights_digest,
    )

    first = None
    same = True
    for path in args.checkpoints:
        try:
            weights = weights_of(path)
        except (OSError, ValueError) as error:
            print(f'error: {error}')
            return 2
        print(f'{weights_digest(weights)}  {path}')
        if first is None:
            first = weights
            continue
        found = weights_difference(first, weights)
        for word, names in (('is not in both', found['missing']),
                            ('has another shape', found['shapes'])):
            for name in names:
                print(f'  {name} {word}')
        if found['values']:
            name, gap = max(found['values'].items(), key=lambda item: item[1])
            print(f'  {len(found["values"])} of {len(first)} tensors differ, '
                  f'by up to {gap:.3g} ({name})')
        same = same and not any(found.values())
    return 0 if same else 1


if __name__ == '__main__':
    sys.exit(run_tool(main))
