"""Compute an iteration whose loss was not finite again, and find where it began."""

import argparse
import math
import sys

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args():
    parser = argparse.ArgumentParser(
        description='Compute the losses of a file that NonFiniteLossHook has written '
        'again, and name the first module that makes finite values into NaN or '
        'infinite ones.',
        epilog='The exit code is 0 where the same losses are not finite as in the '
        'training, else 1.',
    )
    parser.add_argument('config', type=find_config, help='config file of the training')
    parser.add_argument('file', help='WORK_DIR/non_finite/iter_N.pth')
    parser.add_argument(
        '--device',
        default='cpu',
        help='where to compute, as cuda:0. Values are the same to the bit only on '
        'the device of the training. Default: cpu',
    )
    add_config_options(parser)
    return parser.parse_args()


def main():
    args = parse_args()
    quiet()
    from mmengine import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS
    from prettytable import PrettyTable

    from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
    from fastsegformer_mm.engine.non_finite.replay import read_record, replay

    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(config_options(args.cfg_options) or {})
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    if 'data_preprocessor' in cfg:
        cfg.model.setdefault('data_preprocessor', cfg.data_preprocessor)
    try:
        content = read_record(args.file)
        result = replay(MODELS.build(cfg.model), content, args.device)
    except (CheckpointError, FileNotFoundError) as error:
        raise SystemExit(f'error: {error}') from error

    rank = f' of rank {content["rank"]}' if content['world_size'] > 1 else ''
    print(f'iteration {content["iteration"]} (epoch {content["epoch"]}){rank}')
    for file in content['files']:
        print(f'  {file}')
    table = PrettyTable(['loss', 'in the training', 'now', ''])
    table.align = 'l'
    for name, now in result.losses.items():
        saved = result.saved.get(name, math.nan)
        mark = '' if math.isfinite(now) else 'not finite'
        table.add_row([name, f'{saved:.8g}', f'{now:.8g}', mark])
    print(table)
    print(f'images: {result.inputs}')
    print('weights: ' + (', '.join(result.bad_weights) or 'finite'))
    origin = result.origin
    if origin is None:
        print('no module makes finite values into others')
    else:
        name = origin.name or 'the model itself'
        inside = '' if origin.own else ', outside its submodules'
        print(
            f'first not finite: {name} ({origin.kind}){inside}\n'
            f'  given: {origin.inputs}\n  gave: {origin.outputs}'
        )
    if not result.reproduced:
        raise SystemExit('not reproduced: other losses are finite than in the training')


if __name__ == '__main__':
    sys.exit(run_tool(main))
