"""Small trainings that draw random numbers wherever a training can.

Augmentation in the workers, dropout and drop path in the network, shuffling; test
files read it by runpy.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

from mmengine.hooks import Hook
from mmengine.runner import Runner

tiny = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[2] / 'distillation' / 'tiny.py'))
)

AUGMENTATION = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(64, 64), ratio_range=(0.8, 1.2), keep_ratio=True),
    dict(type='RandomCrop', crop_size=(48, 48)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='Pad', size=(64, 64), pad_val=dict(seg=255)),
    dict(type='PackSegInputs'),
]
IMAGES = 6  # in batches of two: three iterations an epoch


class Kill(Exception):
    """Stands for what ends a process."""


class KillHook(Hook):
    """Ends the training after an iteration and its checkpoint."""

    priority = 'LOWEST'

    def __init__(self, after: int) -> None:
        self.after = after

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        if runner.iter + 1 == self.after:
            raise Kill


def config(
    data,
    work_dir,
    by_epoch,
    distilled=True,
    workers=0,
    sampler=None,
    exact=True,
    length=None,
    **changes,
):
    """A training of nine iterations with a checkpoint after each."""
    changes.setdefault(
        'model', tiny.model_cfg(architecture=tiny.student(drop=0.3))
        if distilled else tiny.student(drop=0.3)
    )
    cfg = tiny.runner_cfg(
        data,
        work_dir,
        iters=length or (3 if by_epoch else 9),
        by_epoch=by_epoch,
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=9)
        ],
        **changes,
    )
    for split in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg.pop(f'{split}_{part}')
    cfg.train_cfg.pop('val_interval')
    loader = cfg.train_dataloader
    loader.dataset.pipeline = AUGMENTATION
    loader.num_workers = workers
    loader.persistent_workers = workers > 0
    loader.sampler = dict(type=sampler or loader.sampler.type, shuffle=True)
    cfg.default_hooks.checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1)
    if exact:
        cfg.default_hooks.exact_resume = dict(type='ExactResumeHook')
    return cfg


def train(cfg, kill=None):
    """The weights after a training, or None of one that was killed."""
    runner = Runner.from_cfg(cfg)
    if kill is not None:
        runner.register_hook(KillHook(kill))
    try:
        runner.train()
    except Kill:
        return None
    finally:
        end_workers(runner.train_loop)
    return state(runner)


def end_workers(loop):
    """Found as cyclic garbage, they would be waited for, five seconds each."""
    holder = getattr(loop, 'dataloader_iterator', loop.dataloader)
    if hasattr(holder._iterator, '_shutdown_workers'):
        holder._iterator._shutdown_workers()


def state(runner):
    """Weights, buffers and what the optimizer has gathered."""
    found = dict(runner.model.state_dict())
    optimizer = runner.optim_wrapper.optimizer.state_dict()['state']
    for number, values in optimizer.items():
        for name, value in values.items():
            found[f'optimizer.{number}.{name}'] = value
    return {k: v.clone() for k, v in found.items()}


def resumed(make, kill):
    """The weights of a training that was killed and resumed."""
    assert train(make(), kill) is None
    cfg = make()
    cfg.resume = True
    return train(cfg)
