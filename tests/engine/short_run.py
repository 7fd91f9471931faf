"""A training that takes a fraction of a second; test files read it by runpy.

Its weights are large enough for the writing of a checkpoint to be worth killing, its
dropout random enough for a wrong resume to show, and its score rises with each
validation, so that each writes a new best checkpoint.
"""

import uuid

import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmseg.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

import robust_training  # noqa: F401 - as the base configs do
from fastsegformer_mm.engine import hooks

assert hooks.ResumeNewestHook


@DATASETS.register_module(force=True)
class ShortData(Dataset):
    """Eight vectors of 64 numbers."""

    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 8

    def __getitem__(self, index):
        inputs = torch.linspace(index / 8 - 0.5, 0.5 - index / 16, 64)
        return dict(inputs=inputs, data_samples=index)


@MODELS.register_module(force=True)
class ShortModel(BaseModel):
    """Counts validations beside, so that the score is known."""

    def __init__(self, width=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, width), nn.Dropout(0.5), nn.Linear(width, 1)
        )

    def forward(self, inputs, data_samples=None, mode='tensor'):
        out = self.layers(torch.stack(inputs))
        return dict(loss=(out - 1).square().mean()) if mode == 'loss' else list(out)


@METRICS.register_module(force=True)
class ShortMetric(BaseMetric):
    """The iteration at which it is asked; with ``falls`` less each time."""

    def __init__(self, falls=False):
        super().__init__()
        self.falls = falls

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        from mmengine.logging import MessageHub

        reached = MessageHub.get_current_instance().get_info('iter')
        return dict(score=-reached if self.falls else reached, other=reached)


def short_cfg(
    work_dir, epochs=4, by_epoch=True, resume=False, width=64, falls=False, **checkpoint
):
    """Config of a training with 4 iterations an epoch and a validation after each.

    Args:
        checkpoint: Arguments of its SafeCheckpointHook, such as ``type``.
    """
    data = dict(type='ShortData')
    load = dict(
        batch_size=2, num_workers=0, dataset=data,
        sampler=dict(type='DefaultSampler', shuffle=True))
    if by_epoch:
        train_cfg = dict(by_epoch=True, max_epochs=epochs)
    else:
        load['sampler'] = dict(type='InfiniteSampler', shuffle=True)
        train_cfg = dict(by_epoch=False, max_iters=4 * epochs, val_interval=4)
    val = dict(
        batch_size=8, num_workers=0, dataset=data,
        sampler=dict(type='DefaultSampler', shuffle=False))
    checkpoint = {
        **dict(
            type='SafeCheckpointHook', by_epoch=by_epoch, interval=1 if by_epoch else 2,
            max_keep_ckpts=1, save_best='score', rule='greater'),
        **checkpoint}
    return Config(
        dict(
            default_scope='mmseg', work_dir=str(work_dir), resume=resume,
            experiment_name=uuid.uuid4().hex, log_level='ERROR',
            randomness=dict(seed=0), model=dict(type='ShortModel', width=width),
            train_dataloader=load, val_dataloader=val, train_cfg=train_cfg, val_cfg={},
            val_evaluator=dict(type='ShortMetric', falls=falls),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.001, momentum=0.9)),
            param_scheduler=dict(type='LinearLR', begin=0, end=20, by_epoch=False),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=100), checkpoint=checkpoint),
            custom_hooks=[dict(type='ResumeNewestHook'), dict(type='ExactResumeHook')]))


def train(work_dir, hooks=(), **kwargs):
    """Run a training to its end; returns the runner."""
    runner = Runner.from_cfg(short_cfg(work_dir, **kwargs))
    for hook in hooks:
        runner.register_hook(hook, 'LOWEST')
    runner.train()
    return runner


def files(folder):
    """Names of all checkpoints and temporary files."""
    names = {path.name for path in folder.iterdir() if path.is_file()}
    return {n for n in names if n.endswith(('.pth', '.tmp', 'last_checkpoint'))}
