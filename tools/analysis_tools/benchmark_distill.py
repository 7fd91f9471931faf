"""Time and memory of a distillation's training step, beside the naive way."""

import argparse
import json
import os
import sys
from pathlib import Path

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool

# those of fastsegformer_mm.distillation.benchmark
VARIANTS = (
    'naive',
    'as configured',
    'channels_last',
    'fused',
    'fused, channels_last',
    'fused, bfloat16',
    'fused, float16',
    'fused, channels_last, bfloat16',
    'fused, compiled teacher',
    'compiled student',
    'compiled both',
)


def parse_args():
    parser = argparse.ArgumentParser(
        description='Seconds a step, images a second and peak memory of a '
        "distillation's training step, on noise; beside the naive way, which runs "
        'the teacher with gradients as the official loop does. Every variant has a '
        'process of its own, the steps take turns, and medians are given.',
        epilog='Variants: ' + '; '.join(VARIANTS),
    )
    parser.add_argument(
        'config', type=find_config, help='config of a MultiResolutionDistill'
    )
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument(
        '--size', type=int, nargs=2, help='height and width; default: the pipeline'
    )
    parser.add_argument(
        '--variants',
        nargs='+',
        default=['naive', 'as configured', 'fused'],
        metavar='NAME',
        help='default: naive, "as configured", fused; "all" for all',
    )
    parser.add_argument('--rounds', type=int, default=7, help='timed steps of each')
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--device', help='default: cuda if there is one, else cpu')
    parser.add_argument('--threads', type=int, help="on the CPU (default: PyTorch's)")
    parser.add_argument('--out', type=Path, help='JSON file to write')
    add_config_options(parser)
    return parser.parse_args()


def table(results, batch_size):
    """One row a variant; ratios are to the naive one, where it was run."""
    from rich.table import Table

    base = next((r for r in results if r.name == 'naive'), None)
    exact = next((r for r in results if r.name in ('as configured', 'naive')), None)
    out = Table(title=f'training step, batch {batch_size}')
    out.add_column('variant')
    for column in (
        's/step',
        'images/s',
        'speed',
        'peak MiB',
        'memory',
        'losses differ by',
    ):
        out.add_column(column, justify='right')
    for r in results:
        out.add_row(
            r.name,
            f'{r.median:.3f}',
            f'{batch_size / r.median:.2f}',
            f'{base.median / r.median:.2f}x' if base else '-',
            f'{r.peak_bytes / 2**20:.0f}',
            f'{r.peak_bytes / base.peak_bytes:.0%}' if base else '-',
            f'{r.loss_difference(exact):.1e}' if exact else '-',
        )
    return out


def main():
    args = parse_args()
    names = list(VARIANTS) if args.variants == ['all'] else args.variants
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise SystemExit(
            f'error: no variant {", ".join(map(repr, unknown))}; there are: '
            + '; '.join(VARIANTS)
        )
    # oneDNN's and OpenMP's pools of waiting processes must not spin beside ours
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')
    quiet()
    import torch
    from mmengine.config import Config
    from rich.console import Console

    from fastsegformer_mm.distillation import benchmark

    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    threads = args.threads or torch.get_num_threads()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(config_options(args.cfg_options) or {})
    if cfg.model.type.split('.')[-1] != 'MultiResolutionDistill':
        raise SystemExit(
            f'error: {args.config} trains a {cfg.model.type}; expected the config of '
            'a MultiResolutionDistill, as in configs/distill'
        )
    console = Console()
    try:
        size = tuple(args.size or benchmark.image_size(cfg))
        with console.status('starting') as status:
            results = benchmark.run(
                cfg,
                names,
                args.batch_size,
                size,
                args.rounds,
                args.warmup,
                device,
                threads,
                lambda name, index: status.update(f'round {index + 1}: {name}'),
            )
    except (RuntimeError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    machine = benchmark.machine(device, threads)
    console.print(', '.join(f'{k} {v}' for k, v in machine.items()))
    console.print(table(results, args.batch_size))
    if args.out:
        report = {
            'config': args.config,
            'batch_size': args.batch_size,
            'size': size,
            'machine': machine,
            'variants': [{**vars(r), 'median_seconds': r.median} for r in results],
        }
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2), encoding='utf-8')
        console.print(f'wrote {args.out}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
