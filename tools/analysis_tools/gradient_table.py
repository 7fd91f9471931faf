"""What each loss of a distillation does to the student before a training."""

import argparse
import itertools
import sys

from fastsegformer_cli.options import add_config_options, config_options, find_config
from fastsegformer_cli.quiet import quiet
from fastsegformer_cli.signals import run_tool


def parse_args():
    parser = argparse.ArgumentParser(
        description="Value of each of a distillation's losses, norm of its gradient at "
        'a layer of the student, that norm as a multiple of the one of the task (the '
        "student's own losses), and cosine between both: on training batches, with "
        'the weights that the training begins with. Then which loss_weight is out of '
        'proportion, more than 3 times the task or less than a thirtieth, and the '
        'one that would give the share asked for.',
        epilog='mmrazor.GradientBalanceHook logs the same during a training, and sets '
        'the shares. To try a config without a trained teacher: --cfg-options '
        'model.teacher_ckpt=None model.allow_random_teacher=True',
    )
    parser.add_argument(
        'config', type=find_config, help='config of a MultiResolutionDistill'
    )
    parser.add_argument(
        '--batches', type=int, default=4, help='to average over (default: 4)'
    )
    parser.add_argument(
        '--layer',
        nargs='+',
        help='modules such as architecture.backbone.stem; default: the first layer of '
        'the student that all losses reach',
    )
    parser.add_argument(
        '--share',
        type=float,
        default=0.5,
        help="of the task's gradient, for the weights proposed (default: 0.5)",
    )
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    parser.add_argument('--device', help='default: cuda if there is one, else cpu')
    add_config_options(parser)
    args = parser.parse_args()
    for name in ('batches', 'share'):
        if getattr(args, name) <= 0:
            parser.error(f'--{name} is {getattr(args, name)}: expected more than 0')
    return args


def measure_batches(cfg, batches, layer, seed, device):
    """The model, the names of the layers, and the figures averaged over batches."""
    from mmengine.runner import Runner, set_random_seed
    from mmrazor.registry import MODELS

    from fastsegformer_mm.distillation.gradients import average, find_layers, measure

    set_random_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(device).train()
    loader = cfg.train_dataloader
    loader.update(num_workers=0, persistent_workers=False)
    layers, rows = {}, []

    def observe(losses):
        layers.update(find_layers(model, losses, layer))
        rows.append(measure(losses, layers))

    model.loss_observer = observe
    dataloader = Runner.build_dataloader(loader, seed=seed)
    for batch in itertools.islice(dataloader, batches):
        model(**model.data_preprocessor(batch, True), mode='loss')
    return model, list(layers), average(rows)


def main():
    args = parse_args()
    quiet()
    import torch
    from mmengine.config import Config
    from mmengine.logging import MMLogger
    from mmengine.registry import init_default_scope

    from fastsegformer_mm.distillation.gradients import (
        describe,
        findings,
        loss_weights,
    )
    # with mmcv-lite it needs what this package has put in
    from mmseg.utils import register_all_modules  # isort: skip

    MMLogger.get_instance('gradient_table', log_level='WARNING')
    try:
        cfg = Config.fromfile(args.config)
        cfg.merge_from_dict(config_options(args.cfg_options) or {})
        if cfg.model.type.split('.')[-1] != 'MultiResolutionDistill':
            raise ValueError(
                f'{args.config} trains a {cfg.model.type}; expected the config of a '
                'MultiResolutionDistill, as in configs/distill'
            )
        register_all_modules(init_default_scope=False)
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        model, layers, rows = measure_batches(
            cfg, args.batches, args.layer, args.seed, device
        )
    except (ValueError, OSError) as error:
        raise SystemExit(f'error: {error}') from error
    weights = loss_weights(model)
    print(
        f'{args.config}\n{args.batches} batches of {cfg.train_dataloader.batch_size}, '
        f'teacher {model.teacher.loaded_from or "with random weights"}, gradients at '
        f'{", ".join(layers)}\n{describe(rows, weights)}'
    )
    found = findings(rows, weights, args.share)
    print('\n'.join(found or ["No loss is out of proportion to the task's."]))


if __name__ == '__main__':
    sys.exit(run_tool(main))
