"""NonFiniteLossHook in whole runs of mmengine's Runner on a tiny model."""

import copy
import math
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch import nn

from fastsegformer_mm.engine.hooks import NonFiniteLossHook
from fastsegformer_mm.engine.non_finite.diagnosis import NonFiniteLossError

tiny = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('tiny_training.py'))))
run, state, same = tiny.run, tiny.state, tiny.same
SKIP = dict(action='skip')


@pytest.fixture(autouse=True)
def set_up(monkeypatch):
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: '# the config'))
    tiny.set_up()


def stopped(folder, numbers, hook=None, **kwargs):
    """The error, and the runner whose training it has ended."""
    runner = run(folder, numbers, {**(hook or {})}, train=False, **kwargs)
    with pytest.raises(NonFiniteLossError) as error:
        runner.train()
    return str(error.value), runner


def test_without_it_one_value_breaks_all_weights(tmp_path):
    runner = run(tmp_path, [1, -2, 3, 4])
    assert all(w.isnan().all() for w in runner.model.parameters())
    assert runner.model.stem[1].running_mean.isnan().all()
    assert runner.iter == 4


def test_stops_with_everything_as_before(tmp_path):
    states = []
    error, runner = stopped(
        tmp_path, [1, 2, -3, 4], after=lambda r, _: states.append(state(r)))
    assert len(states) == 2
    assert same(state(runner), states[-1])
    assert (
        'the loss is not finite in iteration 3 (epoch 1): loss_ce=nan, loss_aux=nan.'
        in error)
    assert 'losses: loss=nan, loss_ce=nan, loss_aux=nan, acc=nan' in error
    names = [f'images/3-{i}.jpg (label labels/3-{i}.png)' for i in (0, 1)]
    assert f'files: {", ".join(names)}\n' in error
    assert re.search(
        r'cause: the images have such values already: images/3-1\.jpg \(label '
        r'labels/3-1\.png\): -[\d.]+ to [\d.]+, 1 NaN\n', error)
    assert 'labels: 0 to 2' in error
    assert f'learning rate: lr=0.1\n  last checkpoint: {tmp_path}/iter_2.pth\n' in error
    assert 'way out: look at these files' in error
    assert f'saved: {tmp_path}/non_finite/iter_3.pth\n' in error
    assert (tmp_path / 'non_finite/iter_3.pth').is_file()
    # nothing of the hook is left
    assert 'parse_losses' not in vars(runner.model)
    assert 'update_params' not in vars(runner.optim_wrapper)
    assert not runner.model.data_preprocessor._forward_hooks


@pytest.mark.parametrize(('accumulate', 'numbers'), [
    (1, [1, -2, 3, 4]),
    (1, [-1, 2]),
    (2, [1, 2, -3, 4, 5]),
    (2, [1, 2, 3, -4, 5]),
    # the last step is of what is left
    (2, [1, -2, 3, 4]),
    (3, [1, -2, 3, 4, 5]),
])
def test_skipping_is_as_if_the_batch_had_not_been(tmp_path, accumulate, numbers):
    """With momentum, BatchNorm and dropout."""
    kwargs = dict(optim_wrapper=dict(accumulative_counts=accumulate))
    ours = run(tmp_path / 'a', numbers, SKIP, **kwargs)
    never = run(tmp_path / 'b', [n for n in numbers if n > 0], **kwargs)
    assert same(state(ours), state(never))
    assert ours.iter == len(numbers)
    log = tiny.log(tmp_path / 'a')
    assert len(re.findall('NonFiniteLossHook skips', log)) == 1
    at = next(i for i, n in enumerate(numbers) if n < 0)
    assert re.search(
        rf'WARNING - NonFiniteLossHook skips iteration {at + 1} \(epoch 1\): '
        r'loss_ce=nan, loss_aux=nan; the images have .*; files: images/.*'
        r'; 1 skipped of at most 10\n', log)
    assert not re.search('loss(_ce|_aux)?: nan', log)
    logged = tiny.scalars(tmp_path / 'a')
    assert all(math.isfinite(v) for line in logged for k, v in line.items()
               if 'loss' in k)


def test_nothing_changes_while_all_is_finite(tmp_path):
    """A logged NaN that is no loss is let alone."""
    seen = []

    def look(runner, outputs):
        seen.append(sorted(outputs))
        # what hooks do that export or average in the middle of a training
        model = runner.model
        assert same(copy.deepcopy(model).state_dict(), model.state_dict())

    a = run(tmp_path / 'a', [1, 2, 3], SKIP, after=look)
    b = run(tmp_path / 'b', [1, 2, 3])
    assert same(state(a), state(b))
    assert seen == [['acc', 'loss', 'loss_aux', 'loss_ce']] * 3
    assert not (tmp_path / 'a/non_finite').exists()
    assert 'parse_losses' not in vars(a.model)
    assert 'update_params' not in vars(a.optim_wrapper)


def test_names_the_one_term_that_overflows(tmp_path):
    def overflow(runner):
        runner.model.aux.factor = tiny.INF if runner.iter == 1 else 1.0

    error, _ = stopped(tmp_path, [1, 2], before=overflow)
    assert 'in iteration 2 (epoch 1): loss_aux=inf. Training' in error
    assert 'cause: images and weights are finite, so it is the computation: ' in error
    assert re.search(r'images: -\d\.\d+ to \d\.\d+\n', error)


def test_names_the_sum_when_it_alone_overflows(tmp_path):
    def grow(runner):
        runner.model.aux.factor, runner.model.scale = 3.2e38, 2e38

    error, _ = stopped(tmp_path, [1], before=grow)
    assert 'in iteration 1 (epoch 1): loss=inf. Training' in error


def test_broken_weights_stop_skipping_as_well(tmp_path):
    def break_weights(runner):
        if runner.iter == 1:
            with torch.no_grad():
                runner.model.head.bias[1] = tiny.INF
                runner.model.stem[0].weight[0, 0] = tiny.NAN

    error, _ = stopped(tmp_path, [1, 2, 3], SKIP, before=break_weights)
    assert 'in iteration 2' in error
    assert 'Training stops here: no skipping helps broken weights.' in error
    assert ('broken before this iteration: stem.0.weight (9 of 108 values), '
            'head.bias (1 of 3 values)\n') in error


def test_infinite_image(tmp_path):
    error, _ = stopped(tmp_path, [-1], value=-tiny.INF)
    assert re.search(r'images/1-1\.jpg .*: -[\d.]+ to [\d.]+, 1 infinite\n', error)
    assert 'last checkpoint: none yet\n' in error


@pytest.mark.parametrize(('limits', 'numbers', 'at', 'which'), [
    (dict(max_skips=2), [1, -2, 3, -4, 5, -6, 7], 6, 'max_skips=2'),
    (dict(max_consecutive_skips=2), [-1, 2, -3, -4, 5, -6, -7, -8], 8,
     'max_consecutive_skips=2'),
    (dict(max_skips=1, max_consecutive_skips=None), [-1, -2, -3], 2, 'max_skips=1'),
    ({}, [-1, -2, -3, -4], 4, 'max_consecutive_skips=3'),
])
def test_stops_after_too_many_skips(tmp_path, limits, numbers, at, which):
    error, runner = stopped(tmp_path, numbers, dict(SKIP, **limits))
    assert f'in iteration {at} ' in error
    assert f'as NonFiniteLossHook({which}) batches were skipped already.' in error
    assert all(t.isfinite().all() for t in state(runner).values())


def test_no_limit(tmp_path):
    limits = dict(max_skips=None, max_consecutive_skips=None, max_saves=0)
    runner = run(tmp_path, [1, *range(-13, -1)], dict(SKIP, **limits))
    assert same(state(runner), state(run(tmp_path / 'b', [1])))
    assert '12 skipped of at most None' in tiny.log(tmp_path)
    assert not (tmp_path / 'non_finite').exists()


def test_counts_go_on_after_a_resume(tmp_path):
    """So does the place in the accumulation of gradients."""
    numbers = [1, -2, 3, 4, 5, -6, 7, 8]
    kwargs = dict(by_epoch=False, model=dict(drop=0.0),
                  optim_wrapper=dict(accumulative_counts=2))
    whole = run(tmp_path / 'a', numbers, SKIP, **kwargs)
    resumed = run(tmp_path / 'b', numbers, SKIP, resume=True,
                  load_from=str(tmp_path / 'a/iter_3.pth'), **kwargs)
    assert same(state(resumed), state(whole))
    assert '2 skipped of at most 10' in tiny.log(tmp_path / 'b')


def test_files_are_limited(tmp_path):
    numbers = [-1, 2, -3, 4, -5]
    run(tmp_path / 'a', numbers, dict(SKIP, max_saves=2))
    folder = tmp_path / 'a/non_finite'
    assert sorted(p.name for p in folder.iterdir()) == ['iter_1.pth', 'iter_3.pth']
    assert 'saved: nothing (max_saves=2)' in tiny.log(tmp_path / 'a')
    run(tmp_path / 'b', numbers, dict(SKIP, out_dir=str(tmp_path / 'mine')))
    assert len(list((tmp_path / 'mine').iterdir())) == 3
    assert not (tmp_path / 'b/non_finite').exists()


def test_a_file_that_cannot_be_written_hides_nothing(tmp_path):
    (tmp_path / 'file').write_text('')
    error, _ = stopped(tmp_path, [-1], dict(out_dir=str(tmp_path / 'file')))
    assert 'in iteration 1 (epoch 1): loss_ce=nan, loss_aux=nan.' in error
    assert re.search(r'saved: nothing: .*/file/iter_1\.pth cannot be written \(', error)


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(action='warn'), r"action='warn': expected 'stop' or 'skip'"),
    (dict(max_skips=0), r"max_skips=0: expected at least 1; .* action='stop'"),
    (dict(max_consecutive_skips=0), r'max_consecutive_skips=0: expected at least 1;'),
    (dict(max_saves=-1), r'max_saves=-1: expected at least 0$'),
])
def test_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        NonFiniteLossHook(**kwargs)


def test_compiled(tmp_path, monkeypatch):
    """What the hook does is not made a part of the compiled step."""
    # where the compiler of torch before 2.3 looks the model's globals up
    module = ModuleType(run.__module__)
    vars(module).update(vars(tiny))
    monkeypatch.setitem(sys.modules, run.__module__, module)
    kwargs = dict(compile=dict(backend='eager'), model=dict(drop=0.0))
    ours = run(tmp_path / 'a', [1, -2, 3], SKIP, **kwargs)
    assert same(state(ours), state(run(tmp_path / 'b', [1, 3], model=dict(drop=0.0))))


def test_averaged_weights_stay_finite(tmp_path):
    hooks = [dict(type='EMAHook', momentum=0.5, update_buffers=True)]
    runner = run(tmp_path, [1, -2, 3], SKIP, hooks=hooks)
    averaged = next(h for h in runner.hooks if hasattr(h, 'ema_model')).ema_model
    assert all(t.isfinite().all() for t in averaged.state_dict().values())
    mean = averaged.module.stem[1].running_mean
    assert not torch.equal(mean, torch.zeros(4))


@pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'),
    reason='torch has no scaler of gradients for the CPU before 2.3',
)
def test_mixed_precision(tmp_path, monkeypatch):
    """An infinite gradient is the scaler's; a loss leaves the scaler as it is."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(
        amp_optimizer_wrapper, 'GradScaler',
        lambda **kw: torch.amp.GradScaler('cpu', **kw))
    scales, weights = [], []

    def look(runner, outputs):
        scales.append(runner.optim_wrapper.loss_scaler.get_scale())
        weights.append(runner.model.head.weight.detach().clone())

    amp = dict(type='AmpOptimWrapper', dtype='bfloat16',
               loss_scale=dict(init_scale=2.0 ** 127, growth_interval=100))
    run(tmp_path / 'a', [1, -2, 3], SKIP, optim_wrapper=amp, after=look,
        model=dict(scale=64.0))
    assert scales == [2.0 ** 126, 2.0 ** 126, 2.0 ** 125]
    assert torch.equal(weights[0], weights[2])
    assert tiny.log(tmp_path / 'a').count('NonFiniteLossHook skips') == 1

    amp = dict(amp, loss_scale=dict(init_scale=2.0 ** 10))
    a = run(tmp_path / 'c', [1, -2, 3], SKIP, optim_wrapper=amp)
    b = run(tmp_path / 'd', [1, 3], optim_wrapper=amp)
    assert same(state(a), state(b))
    saved = torch.load(tmp_path / 'c/non_finite/iter_2.pth', weights_only=True)
    assert saved['autocast'] == dict(dtype='bfloat16')
    error, _ = stopped(tmp_path / 'e', [1], optim_wrapper=amp,
                       before=lambda r: setattr(r.model.aux, 'factor', tiny.INF))
    assert 'so it is the computation in bfloat16: ' in error


@MODEL_WRAPPERS.register_module(force=True)
class Shards(nn.Module):
    """Stands for FSDP: a wrapper whose processes each have a part of the weights."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def train_step(self, data, optim_wrapper):
        return self.module.train_step(data, optim_wrapper)


def test_part_of_the_weights_is_not_saved(tmp_path):
    runner = run(tmp_path, [1, -2, 3], SKIP, train=False)
    runner.model = Shards(runner.model)
    runner.train()
    content = torch.load(tmp_path / 'non_finite/iter_2.pth', weights_only=True)
    assert content['state_dict'] is None
    assert content['config'] == '# the config'
    assert same(state(runner), state(run(tmp_path / 'b', [1, 3])))


class TwoOptimizers(BaseModel):
    """Each part has an optimizer; the losses are put together without parse_losses."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1), nn.Linear(1, 1)
        self.values = [1.0, 1.0]

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError

    def train_step(self, data, optim_wrapper):
        self.data_preprocessor(data, True)
        found = {}
        for name, value in zip('ab', self.values):
            loss = getattr(self, name).weight.sum() * value
            optim_wrapper[name].update_params(loss)
            found[f'loss_{name}'] = loss
        return found


def test_several_optimizers(tmp_path):
    """Only the step of the loss that is not finite is left out."""
    model = TwoOptimizers()
    before = [p.clone() for p in (model.a.weight, model.b.weight)]
    wrappers = {
        name: OptimWrapper(torch.optim.SGD(getattr(model, name).parameters(), 0.5))
        for name in 'ab'}
    loader = torch.utils.data.DataLoader(
        tiny.Batches([1]), batch_size=2, collate_fn=lambda items: items)
    model.values = [tiny.NAN, 1.0]
    runner = Runner(
        model, str(tmp_path), loader, train_cfg=dict(by_epoch=True, max_epochs=1),
        optim_wrapper=OptimWrapperDict(**wrappers), experiment_name=str(tmp_path),
        custom_hooks=[dict(type='mmseg.NonFiniteLossHook', **SKIP)])
    runner.train()
    assert torch.equal(model.a.weight, before[0])
    assert torch.equal(model.b.weight, before[1] - 0.5)
    assert 'skips iteration 1 (epoch 1): loss=nan; ' in tiny.log(tmp_path)
