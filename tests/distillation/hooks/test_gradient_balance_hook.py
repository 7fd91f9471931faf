"""GradientBalanceHook over real trainings: what it says, sets and leaves alone."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.distillation.gradients import LossGradient, find_layers, measure
from fastsegformer_mm.distillation.hooks import GradientBalanceHook
from fastsegformer_mm.distillation.hooks import gradient_balance_hook as module

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
ALONE = dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
EXACT = [dict(type='ExactResumeHook')]
HOOK = dict(type='mmrazor.GradientBalanceHook')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


def run(data, work_dir, *hooks, iters=4, resume=False, **changes):
    """The runner, (factors, distillation's losses) of each iteration, and the log."""
    runner = tiny.runner(
        data, work_dir, iters=iters, resume=resume, custom_hooks=[*EXACT, *hooks],
        **{**ALONE, **changes})
    model, rows = runner.model, []
    loss = model.loss

    def watch(*args, **kwargs):
        found = loss(*args, **kwargs)
        rows.append((dict(model.loss_factors), {
            k: v.item() for k, v in found.items() if k.startswith('distill.')}))
        return found

    model.loss = watch
    with tiny.messages(runner.logger) as said:
        runner.train()
    del model.loss
    return runner, rows, [m for m in said if m.startswith('GradientBalanceHook')]


def test_measuring_changes_nothing(data, tmp_path):
    without, _, said = run(data, tmp_path / 'a')
    assert said == []
    runner, rows, said = run(data, tmp_path / 'b', dict(HOOK, interval=2))
    assert tiny.same(tiny.weights(without.model), tiny.weights(runner.model))
    assert tiny.same(
        dict(without.model.named_buffers()), dict(runner.model.named_buffers()))
    assert [r[0] for r in rows] == [{}] * 4
    assert [m.split('\n')[0] for m in said] == [
        f'GradientBalanceHook: iteration {i}, gradients at '
        'architecture.backbone.stem.conv' for i in (1, 3)]
    assert '| loss_first ' in said[0]
    assert 'factor' not in said[0]
    assert runner.model.loss_observer is None


def test_what_is_drawn(data, tmp_path):
    runner, rows, _ = run(
        data, tmp_path, dict(HOOK, interval=3, share={'loss_logits': 0.5}))
    path = next(Path(runner.log_dir).rglob('scalars.json'))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    found = [line for line in lines if 'gradient/task' in line]
    assert [line['step'] for line in found] == [1, 4]
    assert set(found[0]) == {'step', 'factor/loss_logits', *(
        f'gradient/{n}' for n in (
            'task', 'loss_first', 'loss_second', 'loss_logits', 'all of distill'))}
    for line, row in zip(found, (rows[0], rows[3])):
        assert line['factor/loss_logits'] == pytest.approx(row[0]['loss_logits'])


def test_each_loss_gets_its_share(data, tmp_path):
    """Measured again with the factors, each norm is its share of the task's."""
    hook = dict(HOOK, interval=1, momentum=0, share={
        'loss_logits': 0.5, 'loss_f*': 0.1, '*': 0.25})
    checks = []

    class Probe(tiny.MultiResolutionDistill):
        """Looks at the losses as they are minimised."""

        def loss(self, *args, **kwargs):
            losses = super().loss(*args, **kwargs)
            checks.append(measure(losses, find_layers(self, losses)))
            return losses

    tiny.RAZOR_MODELS.register_module(module=Probe, force=True)
    runner, rows, said = run(
        data, tmp_path, hook, iters=2, model=tiny.model_cfg(type='Probe'))
    assert len(checks) == 2
    for found in checks:
        shares = {row.name: row.share for row in found}
        assert shares['loss_logits'] == pytest.approx(0.5, rel=1e-3)
        assert shares['loss_first'] == pytest.approx(0.1, rel=1e-3)
        assert shares['loss_second'] == pytest.approx(0.25, rel=1e-3)
    factors = rows[0][0]
    assert sorted(factors) == ['loss_first', 'loss_logits', 'loss_second']
    assert factors['loss_first'] < 0.1
    assert factors['loss_logits'] > 1
    # left as it was
    assert runner.model.loss_factors == {}
    assert f'{factors["loss_logits"]:.3g} |' in said[0]


def test_factors_multiply_the_losses_and_those_of_a_schedule():
    model = tiny.build()
    plain = {k: v.item() for k, v in tiny.losses(model).items()}
    model.loss_factors = dict(loss_first=0.5, loss_other=9)
    model.distill_factor = 0.1
    found = {k: v.item() for k, v in tiny.losses(model).items()}
    for name, factor in (('first', 0.05), ('second', 0.1), ('logits', 0.1)):
        key = f'distill.loss_{name}'
        assert found[key] == pytest.approx(factor * plain[key], rel=1e-5)
    assert found['student.decode.loss_ce'] == plain['student.decode.loss_ce']


def fake(monkeypatch, *shares):
    """A hook that measures these shares, one after the other, and its runner."""
    rows = iter([
        [LossGradient('task', 1, 1, 1, 1), LossGradient('loss_logits', 1, s, 1, 0),
         LossGradient('all of distill', 1, s, 1, 0)] for s in shares])
    monkeypatch.setattr(module, 'find_layers', lambda *args: {'layer': []})
    monkeypatch.setattr(module, 'measure', lambda *args, **kwargs: next(rows))
    runner = SimpleNamespace(
        iter=0, model=tiny.build(), optim_wrapper=None,
        logger=SimpleNamespace(info=lambda text: None),
        visualizer=SimpleNamespace(add_scalars=lambda *args, **kwargs: None))
    return runner


def factors(hook, runner, count):
    hook.before_train(runner)
    found = []
    for _ in range(count):
        hook.before_train_iter(runner, 0)
        if runner.model.loss_observer:
            runner.model.loss_observer({})
        hook.after_train_iter(runner, 0)
        found.append(runner.model.loss_factors.get('loss_logits'))
        runner.iter += 1
    return found


def test_interval_momentum_and_largest_factor(monkeypatch):
    hook = GradientBalanceHook(
        share={'loss_logits': 0.5}, momentum=0.75, interval=2, max_factor=50)
    runner = fake(monkeypatch, 1.0, 16.0, 1e-30)
    # ratio 1, then 1^0.75 * 16^0.25 = 2, then at the largest factor
    assert factors(hook, runner, 5) == pytest.approx([0.5, 0.5, 0.25, 0.25, 50])
    hook = GradientBalanceHook(share={'*': 0.5}, momentum=0, interval=1, max_factor=4)
    assert factors(hook, fake(monkeypatch, 5e6, 1e-3), 2) == [1e-7, 4]


@pytest.mark.parametrize('share', [0.0, float('inf'), float('nan')])
def test_factor_stays_where_nothing_can_be_measured(monkeypatch, share):
    hook = GradientBalanceHook(share={'*': 0.5}, interval=1)
    found = factors(hook, fake(monkeypatch, 2, share), 2)
    assert found == pytest.approx([0.25, 0.25])
    hook = GradientBalanceHook(share={'*': 0.5}, interval=1)
    assert factors(hook, fake(monkeypatch, share), 1) == [None]


@pytest.mark.parametrize('interval', [2, 3])
def test_resumed_training_is_the_same_to_the_bit(data, tmp_path, interval):
    """Between two measurements and at one; the factors come from the checkpoint."""
    hook = dict(HOOK, interval=interval, share={'loss_logits': 0.5, '*': 0.1})
    whole, rows, _ = run(data, tmp_path / 'whole', hook, iters=6)
    run(data, tmp_path / 'parts', hook, iters=4)
    resumed, tail, _ = run(data, tmp_path / 'parts', hook, iters=6, resume=True)
    assert [r[0] for r in tail] == [r[0] for r in rows[4:]]
    assert tiny.same(tiny.weights(whole.model), tiny.weights(resumed.model))
    saved = torch.load(tmp_path / 'parts' / 'iter_6.pth', weights_only=False)
    assert sorted(saved['gradient_balance']) == [
        'loss_first', 'loss_logits', 'loss_second']


def test_weights_to_begin_with_bring_no_factors(data, tmp_path):
    hook = dict(HOOK, interval=1, share={'*': 0.1}, momentum=0.9)
    run(data, tmp_path / 'a', hook, iters=2)
    _, rows, _ = run(data, tmp_path / 'b', hook, iters=1)
    _, loaded, _ = run(
        data, tmp_path / 'c', hook, iters=1,
        load_from=str(tmp_path / 'a' / 'iter_2.pth'))
    hook = dict(hook, momentum=0)
    _, fresh, _ = run(
        data, tmp_path / 'd', hook, iters=1,
        load_from=str(tmp_path / 'a' / 'iter_2.pth'))
    assert loaded[0][0] == pytest.approx(fresh[0][0])
    assert loaded[0][0] != pytest.approx(rows[0][0])


def test_accumulation_and_ema(data, tmp_path):
    wrapper = dict(accumulative_counts=2, optimizer=dict(type='SGD', lr=0.01))
    ema = dict(type='EMAHook', ema_type='ExponentialMovingAverage')
    hook = dict(HOOK, interval=1, share={'*': 0.1})
    runner, rows, _ = run(data, tmp_path, hook, ema, optim_wrapper=wrapper, iters=4)
    assert len(rows[3][0]) == 3
    assert runner.iter == 4


def test_loss_scale_of_amp(data, tmp_path, monkeypatch):
    """Where a wrapper scales the loss, the backward passes here do, too."""
    seen = []

    def spy(*args, scale, **kwargs):
        seen.append(scale)
        return measure(*args, scale=scale, **kwargs)

    monkeypatch.setattr(module, 'measure', spy)
    runner = tiny.runner(data, tmp_path, iters=1, custom_hooks=[dict(HOOK)], **ALONE)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.loss_scaler = SimpleNamespace(get_scale=lambda: 1024.0)
    runner.train()
    assert seen == [1024.0]


def test_no_measurement_after_the_distillation_has_stopped(data, tmp_path):
    stop = dict(type='mmrazor.DistillScheduleHook', stop=2, by_epoch=False)
    _, _, said = run(data, tmp_path, dict(HOOK, interval=1), stop)
    assert len(said) == 2


@pytest.mark.parametrize(('arguments', 'told'), [
    (dict(interval=0), 'interval=0: expected at least 1'),
    (dict(momentum=1), r'momentum=1: expected a number in \[0, 1\)'),
    (dict(max_factor=0), 'max_factor=0: expected more than 0'),
    (dict(share={'loss_x': 0}), r"share\['loss_x'\]=0: expected more than 0")])
def test_arguments_out_of_range(arguments, told):
    with pytest.raises(ValueError, match=told):
        GradientBalanceHook(**arguments)


@pytest.mark.parametrize(('changes', 'hook', 'told'), [
    ({}, dict(share={'loss_pkl': 0.5}),
     "share names 'loss_pkl'; the losses of the distillation are loss_first"),
    ({}, dict(layer='backbone'), "layer='backbone': the model has no such module"),
    (dict(model=tiny.model_cfg(calculate_student_loss=False)), {},
     'calculate_student_loss=False leaves them out'),
    (dict(model=tiny.student()), {}, 'EncoderDecoder is no MultiResolutionDistill')])
def test_what_does_not_go_together(data, tmp_path, changes, hook, told):
    runner = tiny.runner(
        data, tmp_path, custom_hooks=[dict(HOOK, **hook)], **ALONE, **changes)
    with pytest.raises(DistillationError, match=told):
        runner.train()
