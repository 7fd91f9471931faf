"""Whole trainings: the exported student, resuming, AMP, accumulation, averaging."""

import copy
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.device import get_device
from mmengine.optim import build_optim_wrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'tiny.py')))
set_up = tiny.set_up


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


def read(path):
    return torch.load(path, map_location='cpu', weights_only=False)


def test_exported_student_scores_what_the_validation_said(data, tmp_path):
    """Trained, validated, exported, and tested by the student's own config."""
    tiny.save_teacher(tmp_path / 'teacher.pth')
    model = tiny.model_cfg(
        teacher_ckpt=str(tmp_path / 'teacher.pth'), allow_random_teacher=False)
    runner = tiny.runner(
        data, tmp_path / 'work', iters=8, model=model,
        custom_hooks=[dict(type='mmrazor.ExportStudentHook')])
    validated = {}
    val = runner.val_loop.run
    runner.val_loop.run = lambda: validated.update(val()) or validated
    with tiny.messages(runner.logger) as said:
        trained = runner.train()
    assert trained is runner.model
    assert 10 < validated['mIoU'] < 100
    assert any('distill.loss_first: ' in m and 'student.decode.loss_ce: ' in m
               for m in said)

    cfg = tiny.runner_cfg(data, tmp_path / 'test', model=tiny.student())
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'val_dataloader',
                'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    cfg.load_from = str(tmp_path / 'work' / 'student' / 'iter_8.pth')
    alone = Runner.from_cfg(cfg)
    with tiny.messages(alone.logger) as said:
        tested = alone.test()
    assert tested == validated
    assert not [m for m in said if 'not match' in m or 'unexpected' in m]
    assert alone.model.state_dict().keys() == runner.model.student.state_dict().keys()
    # the whole distillation, from its own checkpoint, scores the same
    whole = tiny.runner_cfg(data, tmp_path / 'whole')
    whole.load_from = str(tmp_path / 'work' / 'iter_8.pth')
    assert Runner.from_cfg(whole).test() == validated


def test_checkpoint_has_no_teacher(data, tmp_path):
    runner = tiny.runner(data, tmp_path, iters=1)
    runner.train()
    content = read(tmp_path / 'iter_1.pth')
    assert {k.split('.')[0] for k in content['state_dict']} == {
        'architecture', 'distiller'}
    assert list(content['state_dict']) == list(runner.model.state_dict())
    assert len(content['optimizer']['state']) == len(list(runner.model.parameters()))
    assert content['meta']['dataset_meta']['classes'] == tiny.CLASSES


def assert_same(a, b, where=''):
    assert type(a) is type(b), where
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, list):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f'{where}.{i}')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


def test_resumed_training_is_the_same(data, tmp_path):
    """Student, connectors, optimizer, schedulers, and the distillation's factor."""
    tiny.save_teacher(tmp_path / 'teacher.pth')
    model = tiny.model_cfg(teacher_ckpt=str(tmp_path / 'teacher.pth'))
    changes = dict(
        model=model, iters=4,
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
            dict(type='CosineAnnealingLR', by_epoch=False, begin=3, end=4)],
        custom_hooks=[
            dict(type='mmrazor.DistillScheduleHook', warmup=4, by_epoch=False)])
    tiny.runner(data, tmp_path / 'straight', **changes).train()
    stopped = tmp_path / 'straight' / 'iter_2.pth'
    resumed = tiny.runner(
        data, tmp_path / 'resumed', load_from=str(stopped), resume=True, **changes)
    factors = []
    loss = resumed.model.loss

    def watch(*args, **kwargs):
        factors.append(resumed.model.distill_factor)
        return loss(*args, **kwargs)

    resumed.model.loss = watch
    resumed.train()
    assert factors == [0.5, 0.75]
    assert not (tmp_path / 'resumed' / 'iter_1.pth').exists()
    half, a, b = (read(p) for p in (
        stopped, tmp_path / 'straight' / 'iter_4.pth',
        tmp_path / 'resumed' / 'iter_4.pth'))
    for part in ('state_dict', 'optimizer', 'param_schedulers'):
        assert_same(a[part], b[part], part)
    key = 'distiller.connectors.first.conv_module.conv.weight'
    assert not torch.equal(half['state_dict'][key], a['state_dict'][key])


@pytest.mark.parametrize('count', [2, 4])
def test_accumulated_gradients(count):
    """As many images at once or one by one; no statistics of a batch involved."""
    found = []
    for accumulative_counts in (1, count):
        torch.manual_seed(0)
        model = tiny.build(architecture=tiny.student(norm='GN'))
        optim_wrapper = build_optim_wrapper(model, dict(
            optimizer=dict(type='SGD', lr=0.1),
            accumulative_counts=accumulative_counts))
        optim_wrapper.initialize_count_status(model, 0, 2 * accumulative_counts)
        for step in range(2):
            images = tiny.batch(images=count, seed=step)
            size = count // accumulative_counts
            for i in range(0, count, size):
                model.train_step(
                    {k: v[i:i + size] for k, v in images.items()}, optim_wrapper)
        found.append(tiny.weights(model))
    start = tiny.weights(tiny.build(architecture=tiny.student(norm='GN')))
    key = 'architecture.backbone.project.weight'
    assert (found[0][key] - start[key]).abs().max() > 1e-3
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-6)


def trained(wrapper, steps=4, **kwargs):
    """Logged losses of a few steps, by one of MMEngine's optimizer wrappers."""
    torch.manual_seed(0)
    model = tiny.build(**kwargs).to(get_device())
    optim_wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.05), **wrapper))
    dtypes = {}
    for name, net in (('student', model.student), ('teacher', model.teacher.network)):
        net.backbone.project.register_forward_hook(
            lambda *args, name=name: dtypes.update({name: args[2].dtype}))
    logs = [model.train_step(tiny.batch(), optim_wrapper) for _ in range(steps)]
    assert all(v.isfinite().all() for log in logs for v in log.values())
    assert all(p.isfinite().all() for p in model.parameters())
    return logs, dtypes


@pytest.mark.parametrize(('precision', 'dtype_t'), [
    (None, torch.bfloat16), ('float32', torch.float32)])
def test_amp(monkeypatch, precision, dtype_t):
    """MMEngine's wrapper asks for an accelerator; what it does works on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    full, dtypes = trained(dict(type='OptimWrapper'))
    assert dtypes == dict(student=torch.float32, teacher=torch.float32)
    amp, dtypes = trained(
        dict(type='AmpOptimWrapper', dtype='bfloat16'), teacher_precision=precision)
    assert dtypes == dict(student=torch.bfloat16, teacher=dtype_t)
    assert float(full[-1]['loss']) < float(full[0]['loss'])
    assert float(amp[-1]['loss']) < float(amp[0]['loss'])
    for log_a, log_b in zip(amp, full):
        for name, value in log_b.items():
            if 'loss' in name:
                torch.testing.assert_close(log_a[name], value, rtol=0.03, atol=0)
                assert not torch.equal(log_a[name], value)


@pytest.mark.cpu_float16
@pytest.mark.parametrize('scale', [1, 1000])
def test_float16(scale):
    """Finite also where the maps leave float16 once they are squared and summed."""
    model = tiny.build()
    data = tiny.prepared(model)
    data['inputs'] *= scale
    with torch.autocast('cpu', torch.float16):
        found = model(**data, mode='loss')
    expected = model(**data, mode='loss')
    for name, value in expected.items():
        assert found[name].isfinite().all()
        if scale == 1 and 'loss' in name:
            torch.testing.assert_close(found[name], value, rtol=0.01, atol=0)
    tiny.total(found).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_averaged_copy_shares_the_teacher(data, tmp_path):
    runner = tiny.runner(
        data, tmp_path, iters=3, custom_hooks=[dict(type='EMAHook', momentum=0.25)])
    runner.train()
    model = runner.model
    hook, = [h for h in runner.hooks if type(h).__name__ == 'EMAHook']
    averaged = hook.ema_model.module
    assert averaged is not model
    assert averaged.teacher is model.teacher
    assert averaged.distiller.connectors is not model.distiller.connectors
    content = read(tmp_path / 'iter_3.pth')
    assert not [k for part in ('state_dict', 'ema_state_dict') for k in content[part]
                if 'teacher' in k]
    assert tiny.same(content['state_dict'], averaged.state_dict())
    # averages of the three iterations' weights: the first is taken as it is
    key = 'architecture.backbone.project.weight'
    each = [read(tmp_path / f'iter_{i}.pth')['ema_state_dict'] for i in (1, 2, 3)]
    each = [w.get(key, w.get(f'module.{key}')) for w in each]
    expected = each[0]
    for weight in each[1:]:
        expected = expected * 0.75 + weight * 0.25
    torch.testing.assert_close(
        averaged.state_dict()[key], expected, rtol=1e-5, atol=1e-7)


def test_copy_does_not_disturb_the_model():
    """Its recorders listen to its own student."""
    model = tiny.build()
    expected = tiny.losses(model)
    again = copy.deepcopy(model)
    with torch.no_grad():
        for p in again.student.parameters():
            p.zero_()
        assert not again(tiny.prepared(again)['inputs'], mode='tensor').any()
    assert tiny.same(tiny.losses(model), expected)


def test_training_helps_the_student_towards_the_teacher():
    """Distilled alone, its logits come nearer to the teacher's."""
    model = tiny.build(calculate_student_loss=False)
    optim_wrapper = build_optim_wrapper(
        model, dict(optimizer=dict(type='Adam', lr=0.01)))
    logs = [model.train_step(tiny.batch(), optim_wrapper) for _ in range(40)]
    for name in ('distill.loss_first', 'distill.loss_second', 'distill.loss_logits'):
        assert float(logs[-1][name]) < 0.9 * float(logs[0][name])
