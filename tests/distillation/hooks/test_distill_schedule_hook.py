"""DistillScheduleHook, and MMRazor's own hook, over real trainings."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.optim import build_optim_wrapper
from mmrazor.engine import StopDistillHook

from fastsegformer_mm.distillation.hooks import DistillScheduleHook

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


def watched_run(data, tmp_path, iters, by_epoch, hook):
    """(factor, teacher's forward passes, losses' names) of each iteration."""
    runner = tiny.runner(
        data, tmp_path, iters=iters, by_epoch=by_epoch, custom_hooks=[hook],
        val_dataloader=None, val_cfg=None, val_evaluator=None)
    model, rows = runner.model, []
    loss = model.loss

    def watch(*args, **kwargs):
        with tiny.seen(model.teacher.network.backbone) as seen:
            found = loss(*args, **kwargs)
        rows.append((model.distill_factor, len(seen), sorted(found)))
        return found

    model.loss = watch
    with tiny.messages(runner.logger) as said:
        runner.train()
    return rows, [m for m in said if 'istill' in m and ' stop' in m]


PAIRS = ['distill.loss_first', 'distill.loss_logits', 'distill.loss_second']
OWN = ['student.decode.acc_seg', 'student.decode.loss_ce']


@pytest.mark.parametrize(('by_epoch', 'schedule', 'iters', 'factors'), [
    (False, dict(warmup=4, start_factor=0.2, stop=6), 8, [0.2, 0.4, 0.6, 0.8, 1, 1]),
    # two iterations an epoch
    (True, dict(warmup=1.5, stop=3), 4, [0, 1 / 3, 2 / 3, 1, 1, 1])])
def test_warm_up_and_stop(data, tmp_path, by_epoch, schedule, iters, factors):
    hook = dict(type='mmrazor.DistillScheduleHook', by_epoch=by_epoch, **schedule)
    rows, said = watched_run(data, tmp_path, iters, by_epoch, hook)
    assert len(rows) == 8
    assert [r[0] for r in rows[:6]] == pytest.approx(factors, abs=1e-12)
    assert [r[1] for r in rows] == [1] * 6 + [0] * 2
    assert [r[2] for r in rows] == (
        [PAIRS + OWN] * 6 + [['distill.loss_stopped', *OWN]] * 2)
    unit = 'epochs' if by_epoch else 'iterations'
    assert said == [
        f'DistillScheduleHook: distillation stops after {schedule["stop"]} {unit}; '
        'the teacher is not run any more']


def test_mmrazors_hook_stops_it_too(data, tmp_path):
    assert StopDistillHook.priority == 'LOW'
    hook = dict(type='mmrazor.StopDistillHook', stop_epoch=1)
    rows, said = watched_run(data, tmp_path, 2, True, hook)
    assert [r[:2] for r in rows] == [(1, 1), (1, 1), (1, 0), (1, 0)]
    assert said == ['Distillation has been stopped!']


def at(iteration, model, epoch_length=10):
    return SimpleNamespace(
        iter=iteration, model=model, train_loop=None,
        train_dataloader=[None] * epoch_length,
        logger=SimpleNamespace(info=lambda text: None))


@pytest.mark.parametrize(('iteration', 'factor', 'stopped'), [
    (0, 0.5, False), (10, 0.75, False), (20, 1, False), (29, 1, False),
    (30, 1, True), (99, 1, True)])
def test_factor_depends_on_the_iteration_alone(iteration, factor, stopped):
    """So a resumed training goes on where it was."""
    hook = DistillScheduleHook(warmup=2, start_factor=0.5, stop=3)
    model = tiny.build()
    model.distillation_stopped = True  # left by an earlier training
    hook.before_train(at(0, model))
    assert model.distillation_stopped is False
    hook.before_train_iter(at(iteration, model), 0)
    assert model.distill_factor == factor
    assert model.distillation_stopped is stopped


def test_by_default_nothing_changes():
    hook, model = DistillScheduleHook(), tiny.build()
    hook.before_train(at(0, model))
    for iteration in (0, 10, 10**6):
        hook.before_train_iter(at(iteration, model), 0)
        assert (model.distill_factor, model.distillation_stopped) == (1, False)


def test_factor_scales_the_gradients():
    """With nothing but the distillation, half the factor is half the step."""
    steps = []
    for factor in (1, 0.5):
        tiny.torch.manual_seed(0)
        model = tiny.build(calculate_student_loss=False)
        model.distill_factor = factor
        before = tiny.weights(model)
        model.train_step(tiny.batch(), build_optim_wrapper(
            model, dict(optimizer=dict(type='SGD', lr=1e-2))))
        key = 'architecture.decode_head.conv_seg.weight'
        steps.append(tiny.weights(model)[key] - before[key])
    tiny.torch.testing.assert_close(steps[1] * 2, steps[0], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(('arguments', 'told'), [
    (dict(warmup=-1), r'warmup=-1, start_factor=0.0: expected no negative'),
    (dict(start_factor=-0.1), r'warmup=0, start_factor=-0.1: expected no negative'),
    (dict(warmup=3, stop=2), r'stop=2 comes before the end of warmup=3')])
def test_arguments_out_of_range(arguments, told):
    with pytest.raises(ValueError, match=told):
        DistillScheduleHook(**arguments)


def test_epochs_need_epochs(data, tmp_path):
    runner = tiny.runner(
        data, tmp_path, custom_hooks=[dict(type='mmrazor.DistillScheduleHook')])
    before = tiny.weights(runner.model.teacher.network)
    with pytest.raises(ValueError, match='an IterBasedTrainLoop has one: give '
                                         'iterations with by_epoch=False'):
        runner.train()
    assert tiny.same(before, tiny.weights(runner.model.teacher.network))


def test_model_that_does_not_distill(data, tmp_path):
    runner = tiny.runner(
        data, tmp_path, model=tiny.student(), by_epoch=True,
        custom_hooks=[dict(type='mmrazor.DistillScheduleHook')])
    with pytest.raises(ValueError, match=(
            'EncoderDecoder is no MultiResolutionDistill; MMRazor has '
            'StopDistillHook')):
        runner.train()
