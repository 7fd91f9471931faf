"""Print the parameters and multiply-accumulates of a config's network."""

import argparse
import sys

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args():
    parser = argparse.ArgumentParser(
        description='Print the parameters and the multiply-accumulates (MACs) '
        "of a config's network, part by part, at inference with one image.",
        epilog='"all layers" counts as THOP does and as the published figures '
        'were: convolutions and linear layers, norms (4 an element), average '
        'pooling, softmax layers, doublings of a map (bilinear: 11 an element). '
        '"with attention" adds attention\'s products of two maps. Activations, '
        'other resizing, GroupNorm and sums count nothing.',
    )
    parser.add_argument(
        'config', type=find_config, help='config file of any MMSegmentation model'
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs='+',
        help='height and width of the input in pixels; one number for a square. '
        "Default: the config's test size, else 224",
    )
    add_config_options(parser)
    args = parser.parse_args()
    if args.shape and (len(args.shape) > 2 or min(args.shape) < 1):
        parser.error(f'--shape takes H W or one positive number, got {args.shape}')
    return args


def main():
    args = parse_args()
    quiet()
    from mmengine import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS
    from prettytable import PrettyTable

    from fastsegformer_mm.utils import inference_shape, measure

    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(config_options(args.cfg_options) or {})
    shape, source = inference_shape(cfg)
    if args.shape:
        shape, source = (args.shape[0], args.shape[-1]), '--shape'
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    result = measure(MODELS.build(cfg.model), shape)

    table = PrettyTable(
        ['part', 'parameters', 'GMACs: conv, linear', 'all layers', 'with attention']
    )
    table.align = 'r'
    table.align['part'] = 'l'
    for part in [*result.parts, result.total]:
        macs = (part.weight_macs, part.layer_macs, part.macs)
        table.add_row(
            [part.name, f'{part.parameters:,}', *(f'{m / 1e9:.3f}' for m in macs)],
            divider=part is result.parts[-1],
        )
    print(f'{args.config}\ninput {shape[0]}x{shape[1]} (from {source}), batch 1')
    print(table)
    if result.auxiliary_parameters:
        print(
            'Auxiliary heads, which run in training only and are not in the table: '
            f'{result.auxiliary_parameters:,} parameters.'
        )


if __name__ == '__main__':
    sys.exit(run_tool(main))
