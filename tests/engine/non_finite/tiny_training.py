"""A training of a small network on made-up batches; test files read it by runpy.

The network has BatchNorm and dropout, and two terms of the loss. A batch is told by
a number: the same number gives the same images and labels.
"""

import json
import uuid
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import HOOKS, MODELS
from mmseg.structures import SegDataSample
from torch import nn

import fastsegformer_mm  # registers the hooks
import robust_training  # noqa: F401 - as the base configs do

assert fastsegformer_mm.__version__
NAN, INF = float('nan'), float('inf')


class Batches(torch.utils.data.Dataset):
    """Two images a batch; of a negative number, the second one has a NaN.

    Several processes are each given all of their own numbers.
    """

    def __init__(self, numbers, value=NAN, processes=1):
        self.numbers = numbers
        self.value = value
        self.processes = processes

    def __len__(self):
        return 2 * len(self.numbers) * self.processes

    def __getitem__(self, index):
        # samplers deal the indices out in turn
        index //= self.processes
        number, second = self.numbers[index // 2], index % 2
        generator = torch.Generator().manual_seed(2 * abs(number) + second)
        image = torch.randn(3, 8, 8, generator=generator)
        if number < 0 and second:
            image[1, 2, 3] = self.value
        label = torch.randint(3, (1, 8, 8), generator=generator)
        name = f'{abs(number)}-{second}'
        return dict(
            inputs=image,
            data_samples=SegDataSample(
                gt_sem_seg=PixelData(data=label),
                metainfo=dict(
                    img_path=f'images/{name}.jpg',
                    seg_map_path=f'labels/{name}.png',
                    img_shape=torch.Size([8, 8]))))


@MODELS.register_module(force=True)
class TinyTwoLosses(BaseModel):
    """Convolution, BatchNorm, dropout, convolution."""

    def __init__(self, drop=0.5, scale=1.0):
        super().__init__(dict(type='BaseDataPreprocessor'))
        torch.manual_seed(0)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.drop = nn.Dropout(drop)
        self.head = nn.Conv2d(4, 3, 1)
        self.aux = Aux()
        self.scale = scale
        self.register_buffer('gain', torch.ones(1), persistent=False)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        maps = self.stem(torch.stack(list(inputs)))
        logits = self.head(self.drop(maps)) * self.gain
        if mode != 'loss':
            return logits
        labels = torch.cat([s.gt_sem_seg.data for s in data_samples])
        return dict(
            loss_ce=nn.functional.cross_entropy(logits, labels) * self.scale,
            loss_aux=self.aux(maps),
            acc=torch.tensor(NAN))


class Aux(nn.Module):
    """A term of the loss that overflows at will; its logged companion is no loss."""

    def __init__(self):
        super().__init__()
        self.factor = 1.0

    def forward(self, maps):
        return maps.square().mean() * self.factor


@HOOKS.register_module(force=True)
class CallHook(Hook):
    """Calls a function of the runner before or after each iteration."""

    def __init__(self, before=None, after=None):
        self.before, self.after = before, after

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if self.before:
            self.before(runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.after:
            self.after(runner, outputs)


def run(folder, numbers, hook=None, before=None, after=None, model=None, value=NAN,
        optim_wrapper=None, hooks=(), train=True, by_epoch=True, **changes):
    """Train once on each of these batches, in this order; the runner."""
    loop = dict(by_epoch=True, max_epochs=1)
    if not by_epoch:
        loop = dict(type='IterBasedTrainLoop', max_iters=len(numbers))
    batches = Batches(numbers, value, get_world_size())
    custom = [] if hook is None else [dict(type='NonFiniteLossHook', **hook)]
    cfg = Config(dict(
        default_scope='mmseg', work_dir=str(folder), experiment_name=uuid.uuid4().hex,
        model=dict(type='TinyTwoLosses', **(model or {})),
        train_dataloader=dict(
            batch_size=2, num_workers=0, dataset=batches,
            collate_fn=dict(type='pseudo_collate'),
            sampler=dict(
                type='DefaultSampler' if by_epoch else 'InfiniteSampler',
                shuffle=False)),
        train_cfg=loop,
        optim_wrapper=dict(
            dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            **(optim_wrapper or {})),
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
        custom_hooks=[*custom, dict(type='CallHook', before=before, after=after),
                      *hooks],
        randomness=dict(seed=0), **changes))
    runner = Runner.from_cfg(cfg)
    torch.manual_seed(1)
    if train:
        runner.train()
    return runner


def state(runner):
    """Weights, buffers and the optimizer's momentum."""
    model = runner.model.module if hasattr(runner.model, 'module') else runner.model
    found = {k: v.clone() for k, v in model.state_dict().items()}
    moments = runner.optim_wrapper.optimizer.state
    for i, p in enumerate(model.parameters()):
        if p in moments:
            found[f'momentum {i}'] = moments[p]['momentum_buffer'].clone()
    return found


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def log(folder):
    """What a run has logged."""
    return '\n'.join(path.read_text() for path in sorted(Path(folder).rglob('*.log')))


def scalars(folder):
    """The numbers that it has logged, a dict an iteration."""
    path = next(Path(folder).rglob('scalars.json'))
    return [json.loads(line) for line in path.read_text().splitlines()]


def enlarge(runner):
    """Weights with which the first layer makes a large image infinite."""
    with torch.no_grad():
        runner.model.stem[0].weight.fill_(10.0)


def set_up():
    init_default_scope('mmseg')
    torch.set_num_threads(1)
