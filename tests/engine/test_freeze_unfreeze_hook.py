"""FreezeUnfreezeHook in whole runs of mmengine's Runner on a tiny model."""
import copy
import gc
import logging
import os
import subprocess
import sys
import uuid
import weakref
from itertools import pairwise
from pathlib import Path

import mmengine.runner.runner
import pytest
import torch
from mmengine.config import Config
from mmengine.dist import all_gather
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.runner import Runner
from torch import nn

import fastsegformer_mm

# isort: split
from mmseg.models.backbones import ResNet

from fastsegformer_mm.engine.hooks.freeze_unfreeze_hook import FreezeUnfreezeHook


class Images(torch.utils.data.Dataset):
    """Four images: two iterations of an epoch at batch size 2."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return {'inputs': torch.randn(3, 8, 8, generator=generator)}


class TinySegmentor(BaseModel):
    """Two conv-BN blocks and a head; notes the mode of its norms as it trains."""

    def __init__(self, backbone=None):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = backbone or nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
            nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.decode_head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4))
        self.modes = []

    def forward(self, inputs, mode):
        x = self.backbone(inputs)
        x = self.decode_head(x[-1] if isinstance(x, tuple) else x)
        if mode != 'loss':
            return [{}] * len(inputs)
        self.modes.append(tuple(
            m.training for m in self.modules() if isinstance(m, nn.BatchNorm2d)))
        return {'loss': (x - 1).square().mean()}


class Recorder(Hook):
    """Copies weights and optimizer state after each iteration."""

    priority = 'VERY_LOW'

    def __init__(self):
        self.states = []
        self.moments = []

    def before_train(self, runner):
        self.states.append(copy.deepcopy(unwrap(runner).state_dict()))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.states.append(copy.deepcopy(unwrap(runner).state_dict()))
        self.moments.append(copy.deepcopy(runner.optim_wrapper.optimizer.state))


def unwrap(runner):
    return getattr(runner.model, 'module', runner.model)


def make_runner(tmp_path, hook, model=None, epochs=4, iters=None, val=False,
                optim=None, hooks=(), cfg=None, **kwargs):
    loader = {
        'dataset': Images(),
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
        'batch_size': 2,
    }
    if val:
        kwargs.update(val_dataloader=copy.deepcopy(loader), val_cfg={},
                      val_evaluator=Evaluator([]))
    if iters:
        # DefaultSampler would pause for two seconds at the end of each epoch
        loader['sampler']['type'] = 'InfiniteSampler'
    train_cfg = ({'by_epoch': True, 'max_epochs': epochs} if iters is None else
                 {'by_epoch': False, 'max_iters': iters, 'val_interval': 2})
    runner = Runner(
        model or TinySegmentor(),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        train_cfg=train_cfg,
        optim_wrapper={
            'type': 'OptimWrapper',
            'optimizer': {'type': 'Adam', 'lr': 0.01, 'weight_decay': 0.1},
            **(optim or {}),
        },
        custom_hooks=[hook, *hooks],
        default_scope='mmseg',
        experiment_name=uuid.uuid4().hex,
        cfg=Config(cfg or {}),
        **kwargs)
    runner.messages = []
    handler = logging.Handler()
    handler.emit = lambda record: runner.messages.append(record.getMessage())
    runner.logger.addHandler(handler)
    return runner


def train(tmp_path, hook, **kwargs):
    recorder = Recorder()
    hooks = [*kwargs.pop('hooks', ()), recorder]
    runner = make_runner(tmp_path, hook, hooks=hooks, **kwargs)
    runner.train()
    return runner, recorder


def said(runner, part):
    return [message for message in runner.messages if part in message]


def moved(state, other, prefix):
    """Names under prefix whose values differ."""
    return {
        name for name in state
        if name.startswith(prefix) and not torch.equal(state[name], other[name])
    }


def hook_cfg(**kwargs):
    return {'type': 'FreezeUnfreezeHook', **kwargs}


def test_frozen_rests_entirely_and_moves_after(tmp_path):
    runner, recorder = train(tmp_path, hook_cfg(unfreeze_epoch=2))
    states = recorder.states
    assert len(states) == 1 + 8
    for before, after in pairwise(states[:5]):
        assert moved(before, after, 'backbone') == set()
        assert {'decode_head.0.weight', 'decode_head.1.running_mean'} <= moved(
            before, after, 'decode_head')
    for before, after in pairwise(states[4:]):
        # weights, biases and the statistics of the norm layers
        assert moved(before, after, 'backbone') >= {
            'backbone.0.weight', 'backbone.3.weight', 'backbone.1.weight',
            'backbone.1.bias', 'backbone.1.running_mean', 'backbone.4.running_var'}
    assert all(p.requires_grad for p in runner.model.parameters())
    assert said(runner, 'froze 8 parameters (276 values) and the statistics of 2 '
                        'norm layers of backbone for the first 2 epochs')
    assert said(runner, 'unfroze 8 parameters')


def test_optimizer_state_lives_on(tmp_path):
    runner, recorder = train(tmp_path, hook_cfg(unfreeze_epoch=2))
    head = runner.model.decode_head[0].weight
    trunk = runner.model.backbone[0].weight
    steps = [int(state[head]['step']) for state in copied(recorder, runner)]
    assert steps == [1, 2, 3, 4, 5, 6, 7, 8]
    states = copied(recorder, runner)
    assert all(trunk not in state for state in states[:4])
    assert [int(state[trunk]['step']) for state in states[4:]] == [1, 2, 3, 4]
    # no jump of the moments: m5 = 0.9 m4 + 0.1 g5, and g5 is not 0 or huge
    gradient = (states[4][head]['exp_avg'] - 0.9 * states[3][head]['exp_avg']) / 0.1
    square = (states[4][head]['exp_avg_sq']
              - 0.999 * states[3][head]['exp_avg_sq']) / 0.001
    torch.testing.assert_close(gradient.square(), square, rtol=1e-2, atol=1e-4)


def copied(recorder, runner):
    """The recorded optimizer states, by the runner's own parameters.

    A deep copy of the state has copies of the parameters as its keys, in the
    order in which they were first updated.
    """
    live = list(runner.optim_wrapper.optimizer.state)
    return [dict(zip(live, state.values())) for state in recorder.moments]


def test_statistics_may_go_on(tmp_path):
    _, recorder = train(tmp_path, hook_cfg(unfreeze_epoch=4, norm_eval=False))
    assert moved(recorder.states[0], recorder.states[-1], 'backbone') == {
        f'backbone.{layer}.{name}' for layer in (1, 4)
        for name in ('running_mean', 'running_var', 'num_batches_tracked')}


@pytest.mark.parametrize('loop', [{'epochs': 4}, {'iters': 8}])
def test_norms_are_in_eval_mode_also_after_validation(tmp_path, loop):
    hook = hook_cfg(unfreeze_iter=4)
    runner, recorder = train(tmp_path, hook, val=True, **loop)
    frozen, free = (False, False, True), (True, True, True)
    assert runner.model.modes == [frozen] * 4 + [free] * 4
    assert moved(recorder.states[0], recorder.states[4], 'backbone') == set()


def test_unfreezes_within_an_epoch(tmp_path):
    runner, recorder = train(tmp_path, hook_cfg(unfreeze_iter=3), epochs=2)
    frozen, free = (False, False, True), (True, True, True)
    assert runner.model.modes == [frozen] * 3 + [free]
    assert moved(recorder.states[0], recorder.states[3], 'backbone') == set()
    assert 'backbone.0.weight' in moved(
        recorder.states[3], recorder.states[4], 'backbone')
    assert said(runner, 'after 3 iterations')


def test_what_the_user_froze_stays_frozen(tmp_path):
    backbone = ResNet(18, base_channels=4, stem_channels=4, frozen_stages=1)
    backbone.layer4.append(nn.Conv2d(32, 4, 1))
    runner, recorder = train(
        tmp_path, hook_cfg(unfreeze_epoch=1), model=TinySegmentor(backbone),
        epochs=3)
    changed = moved(recorder.states[0], recorder.states[-1], 'backbone')
    assert {name.split('.')[1] for name in changed} == {'layer2', 'layer3', 'layer4'}
    model = runner.model
    assert not any(p.requires_grad for p in model.backbone.layer1.parameters())
    assert all(p.requires_grad for p in model.backbone.layer2.parameters())
    assert not model.backbone.layer1[0].bn1.training
    assert model.backbone.layer2[0].bn1.training


def test_parameter_frozen_by_hand_stays_frozen(tmp_path):
    model = TinySegmentor()
    model.backbone[0].weight.requires_grad_(False)
    runner, recorder = train(
        tmp_path, hook_cfg(unfreeze_iter=1), model=model, epochs=1)
    assert said(runner, 'froze 7 parameters')
    assert not model.backbone[0].weight.requires_grad
    changed = moved(recorder.states[0], recorder.states[-1], 'backbone')
    assert 'backbone.0.weight' not in changed
    assert 'backbone.3.weight' in changed


def test_norm_that_the_model_holds_in_eval_is_not_put_in_train_mode(tmp_path):
    class Held(nn.Sequential):
        """As a backbone's own norm_eval does it."""

        def train(self, mode=True):
            super().train(mode)
            self[1].eval()
            return self

    backbone = Held(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4))
    runner, _ = train(tmp_path, hook_cfg(unfreeze_iter=1), epochs=1,
                      model=TinySegmentor(backbone))
    assert runner.model.modes == [(False, False, True), (False, True, True)]


@pytest.mark.parametrize(('saved', 'rests'), [(1, 2), (2, 0), (3, 0)])
def test_resume_goes_by_the_epoch(tmp_path, saved, rests):
    """``rests`` iterations after resuming the backbone is still frozen."""
    hook = hook_cfg(unfreeze_epoch=2)
    train(tmp_path / 'first', hook, epochs=saved)
    runner, recorder = train(
        tmp_path / 'second', hook, epochs=4, resume=True,
        load_from=str(tmp_path / f'first/epoch_{saved}.pth'))
    steps = [bool(moved(a, b, 'backbone.0'))
             for a, b in pairwise(recorder.states)]
    left = 2 * (4 - saved)
    assert steps == [False] * rests + [True] * (left - rests)
    assert bool(said(runner, 'nothing is frozen after 2 epochs')) == (rests == 0)
    head = runner.model.decode_head[0].weight
    assert int(runner.optim_wrapper.optimizer.state[head]['step']) == 8


def test_paramwise_settings_hold_for_what_was_frozen(tmp_path):
    runner, recorder = train(
        tmp_path, hook_cfg(unfreeze_epoch=1), epochs=2,
        optim={'paramwise_cfg': {'custom_keys': {'backbone': {'lr_mult': 0.1}}}})
    trunk = {id(p) for p in runner.model.backbone.parameters()}
    rates = [group['lr'] for group in runner.optim_wrapper.optimizer.param_groups
             if id(group['params'][0]) in trunk]
    assert rates == pytest.approx([0.001] * 8)
    assert moved(recorder.states[2], recorder.states[3], 'backbone.0')


def test_gradient_accumulation(tmp_path):
    runner, recorder = train(tmp_path, hook_cfg(unfreeze_epoch=2),
                             optim={'accumulative_counts': 2})
    assert moved(recorder.states[0], recorder.states[5], 'backbone.0') == set()
    assert moved(recorder.states[5], recorder.states[6], 'backbone.0')
    head = runner.model.decode_head[0].weight
    assert int(runner.optim_wrapper.optimizer.state[head]['step']) == 4


def test_left_over_gradient_does_not_let_weight_decay_act(tmp_path):
    class ZeroGradient(Hook):
        priority = 'VERY_HIGH'

        def before_train(self, runner):
            for param in runner.model.parameters():
                param.grad = torch.zeros_like(param)

    _, recorder = train(tmp_path, hook_cfg(unfreeze_epoch=1), epochs=1,
                        hooks=[ZeroGradient()])
    assert moved(recorder.states[0], recorder.states[2], 'backbone') == set()


def test_mixed_precision(tmp_path, monkeypatch):
    # without a GPU the scaler switches itself off and autocast takes bfloat16
    monkeypatch.setattr(
        'mmengine.optim.optimizer.amp_optimizer_wrapper.is_cuda_available',
        lambda: True)
    runner, recorder = train(
        tmp_path, hook_cfg(unfreeze_epoch=2),
        optim={'type': 'AmpOptimWrapper', 'dtype': 'bfloat16'})
    assert type(runner.optim_wrapper).__name__ == 'AmpOptimWrapper'
    assert moved(recorder.states[0], recorder.states[4], 'backbone') == set()
    assert len(moved(recorder.states[4], recorder.states[5], 'backbone')) >= 6


def test_moving_average_of_the_weights(tmp_path):
    class AverageRecorder(Hook):
        priority = 'VERY_LOW'

        def after_train_epoch(self, runner):
            ema, = (h for h in runner.hooks if type(h).__name__ == 'EMAHook')
            averages.append(copy.deepcopy(ema.ema_model.module.state_dict()))

    averages = []
    _, recorder = train(
        tmp_path, hook_cfg(unfreeze_epoch=2), epochs=3, val=True,
        hooks=[{'type': 'EMAHook', 'momentum': 0.5}, AverageRecorder()])
    start, end = recorder.states[0], recorder.states[-1]
    assert moved(start, averages[1], 'backbone') == set()
    assert 'decode_head.0.weight' in moved(start, averages[1], 'decode_head')
    # the average follows the unfrozen weights, behind them
    name = 'backbone.0.weight'
    behind = (end[name] - averages[2][name]).abs().max()
    assert 0 < behind < (end[name] - start[name]).abs().max()


def test_nested_modules(tmp_path):
    hook = hook_cfg(modules=['backbone.0', 'backbone.1', 'decode_head'],
                    unfreeze_epoch=4)
    runner, recorder = train(tmp_path, hook)
    changed = moved(recorder.states[0], recorder.states[-1], '')
    assert {name[:10] for name in changed} == {'backbone.3', 'backbone.4'}
    assert said(runner, 'froze 8 parameters')
    assert said(runner, 'stay frozen to the end')


@pytest.mark.parametrize(('kwargs', 'message'), [
    ({'modules': 'backbon'}, r"no module 'backbon', the nearest are: backbone"),
    ({'modules': 'backbone.9'}, r'nearest are: .*backbone\.1'),
    ({'modules': 'xyz'}, 'nearest are: .*decode_head'),
    ({'modules': ''}, "no module ''"),
    ({'modules': ('backbone', 'decode_head')}, 'no parameter is left to train'),
])
def test_modules_that_cannot_be_frozen(tmp_path, kwargs, message):
    runner = make_runner(tmp_path, hook_cfg(unfreeze_epoch=1, **kwargs))
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_epochs_do_not_count_in_an_iteration_loop(tmp_path):
    runner = make_runner(tmp_path, hook_cfg(unfreeze_epoch=1), iters=2)
    with pytest.raises(ValueError, match='give unfreeze_iter'):
        runner.train()


@pytest.mark.parametrize(('kwargs', 'message'), [
    ({}, 'exactly one'),
    ({'unfreeze_epoch': 1, 'unfreeze_iter': 1}, 'exactly one'),
    ({'unfreeze_epoch': 0}, 'at least 1'),
    ({'unfreeze_iter': -5}, '-5, expected at least 1'),
    ({'modules': (), 'unfreeze_epoch': 1}, 'modules is empty'),
])
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FreezeUnfreezeHook(**kwargs)


def test_other_wrappers_are_refused(tmp_path):
    runner = make_runner(tmp_path, hook_cfg(unfreeze_epoch=1))
    model = runner.model
    runner.model = nn.DataParallel(model)
    runner.model.train_step = model.train_step
    with pytest.raises(TypeError, match='not with DataParallel in Runner'):
        runner.train()


class WrapperRecorder(Hook):
    """Notes the wrapper and what it waits for; compares the ranks' weights."""

    def __init__(self):
        self.wrappers = []
        self.waited_for = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.wrappers.append(weakref.ref(runner.model))
        self.waited_for.append(sum(p.requires_grad for p in
                                   runner.model._module_parameters))
        for name, param in unwrap(runner).named_parameters():
            first, second = all_gather(param.detach())
            assert torch.equal(first, second), (batch_idx, name)


def _rank_main():
    """Two ranks, two images each: freeze and unfreeze under DDP."""
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{Path.cwd()}/store',
        rank=int(os.environ['RANK']), world_size=2)
    # mmengine's default, device_ids=[LOCAL_RANK], is refused on a CPU
    wrapper = {'type': 'MMDistributedDataParallel', 'device_ids': None}
    # SyncBN itself needs GPUs
    converted = []
    mmengine.runner.runner.convert_sync_batchnorm = (
        lambda model, kind: converted.append(kind) or model)
    ranks = WrapperRecorder()
    runner, recorder = train(
        'ddp', hook_cfg(unfreeze_epoch=3), hooks=[ranks], launcher='pytorch',
        optim={'accumulative_counts': 2},
        cfg={'model_wrapper_cfg': wrapper, 'compile': {'disable': True},
             'sync_bn': 'torch'})
    assert isinstance(runner.model, MMDistributedDataParallel)
    states = recorder.states
    # One iteration an epoch: two images a rank. The change comes between the
    # two iterations whose gradients are summed.
    assert len(states) == 1 + 4
    assert moved(states[0], states[3], 'backbone') == set()
    assert moved(states[0], states[2], 'decode_head.0')
    assert moved(states[3], states[4], 'backbone.0')
    assert ranks.waited_for == [4, 4, 4, 12]
    # the wrapper was renewed at the change alone, and its compiled train_step too
    gc.collect()
    assert [ref() is runner.model for ref in ranks.wrappers] == [
        False, False, False, True]
    assert ranks.wrappers[0]() is None
    assert 'train_step' in vars(runner.model)
    # norm layers were converted by the runner's first wrapping and not again
    assert converted == ['torch']
    assert runner.cfg.sync_bn == 'torch'


def test_two_ranks(tmp_path):
    root = Path(fastsegformer_mm.__file__).parents[1]
    env = dict(os.environ, PYTHONPATH=str(root), OMP_NUM_THREADS='1',
               CUDA_VISIBLE_DEVICES='')
    ranks = [
        subprocess.Popen([sys.executable, __file__], cwd=tmp_path,
                         env=dict(env, RANK=str(rank), LOCAL_RANK=str(rank)),
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(2)
    ]
    outputs = [rank.communicate(timeout=120)[0].decode() for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], '\n'.join(outputs)


if __name__ == '__main__':
    _rank_main()
