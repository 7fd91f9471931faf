"""The teacher is only looked at: eval, no gradient, no loss, no part of the model."""

import copy
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from fastsegformer_mm.distillation import DistillationError

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up


def network(model):
    return model.teacher.network


@pytest.mark.parametrize('mode', [True, False])
def test_whole_network_is_in_eval_mode(mode):
    model = tiny.build()
    assert model.train(mode) is model
    kinds = {type(m).__name__ for m in network(model).modules()}
    assert {'Dropout', 'DropPath', 'BatchNorm2d', 'Dropout2d'} <= kinds
    assert not any(m.training for m in network(model).modules())
    assert {m.training for m in model.modules()} == {mode}


def test_dropout_and_drop_path_are_inactive():
    model = tiny.build()
    images = tiny.prepared(model)['inputs']
    first = model.teacher(images)
    assert torch.equal(first, model.teacher(images))
    network(model).train()
    assert not torch.equal(first, model.teacher(images))


def test_no_graph_and_no_statistics():
    model = tiny.build()
    before = copy.deepcopy(network(model).state_dict())
    held = []
    handle = network(model).register_forward_hook(lambda *args: held.append(args[2]))
    for seed in range(2):
        tiny.total(tiny.losses(model, seed=seed)).backward()
    handle.remove()
    for logits in held:
        assert (logits.requires_grad, logits.grad_fn) == (False, None)
    assert not any(p.requires_grad for p in network(model).parameters())
    assert all(p.grad is None for p in network(model).parameters())
    assert tiny.same(before, network(model).state_dict())


def test_one_forward_pass_and_no_loss(monkeypatch):
    model = tiny.build()
    calls = dict(teacher=0, student=0)

    def refuse(*args, **kwargs):
        raise AssertionError("the teacher's loss was computed")

    def count(name, module):
        module.register_forward_hook(
            lambda *_: calls.update({name: calls[name] + 1}))

    for part in (network(model), network(model).decode_head):
        monkeypatch.setattr(part, 'loss', refuse)
    monkeypatch.setattr(network(model).decode_head, 'loss_by_feat', refuse)
    count('teacher', network(model).backbone)
    count('student', model.student.backbone)
    for step in (1, 2):
        found = tiny.losses(model)
        assert not [k for k in found if k.startswith('teacher')]
        assert calls == dict(teacher=step, student=step)
    model.eval()
    model(tiny.prepared(model)['inputs'], mode='tensor')
    assert calls == dict(teacher=2, student=3)


def test_is_no_part_of_the_model():
    model = tiny.build()
    own = {id(t) for t in (*network(model).parameters(), *network(model).buffers())}
    parameters = list(model.parameters())
    size = sum(p.numel() for p in parameters)
    student = sum(p.numel() for p in model.student.parameters())
    # connectors: 4 -> 6 and 8 -> 12 channels, with bias
    assert size == student + (4 * 6 + 6) + (8 * 12 + 12)
    assert not own & {id(p) for p in parameters}
    assert not own & {id(b) for b in model.buffers()}
    assert network(model) not in list(model.modules())
    assert {k.split('.')[0] for k in model.state_dict()} == {
        'architecture', 'distiller'}
    optimizer = build_optim_wrapper(
        model, dict(optimizer=dict(type='SGD', lr=0.1))).optimizer
    grouped = [p for group in optimizer.param_groups for p in group['params']]
    assert sum(p.numel() for p in grouped) == size
    assert not own & {id(p) for p in grouped}


def test_copy_shares_the_teacher():
    model = tiny.build()
    again = copy.deepcopy(model)
    assert again.teacher is model.teacher
    assert again.student is not model.student


@pytest.mark.parametrize('channels_last', [False, True])
def test_moves_along_once(channels_last, monkeypatch):
    model = tiny.build(teacher_channels_last=channels_last)
    moves = []
    apply = network(model)._apply
    monkeypatch.setattr(
        network(model), '_apply', lambda *args: moves.append(1) or apply(*args))
    assert model.double() is model
    assert moves == [1]
    assert {p.dtype for p in network(model).parameters()} == {torch.float64}
    data = tiny.prepared(model)
    data['inputs'] = data['inputs'].double()
    found = model(**data, mode='loss')
    assert found['distill.loss_first'].dtype == torch.float64
    model.to('meta')
    assert moves == [1, 1]
    tensors = [*network(model).parameters(), *network(model).buffers()]
    assert {t.device.type for t in tensors} == {'meta'}


def recorded(model, autocast=None):
    """dtypes and memory formats of what the two networks' layers give."""
    found = {}
    for name, net in (('teacher', network(model)), ('student', model.student)):
        net.backbone.project.register_forward_hook(
            lambda _, args, out, name=name: found.update({
                name: out.dtype, f'{name}_input': args[0]}))
    data = tiny.prepared(model)
    with torch.autocast('cpu', autocast or torch.bfloat16, enabled=bool(autocast)):
        found['losses'] = model(**data, mode='loss')
    return found


@pytest.mark.parametrize(('precision', 'training', 'expected'), [
    (None, None, torch.float32),
    (None, torch.bfloat16, torch.bfloat16),
    ('bfloat16', None, torch.bfloat16),
    pytest.param('float16', None, torch.float16, marks=pytest.mark.cpu_float16),
    ('float32', torch.bfloat16, torch.float32),
])
def test_precision_is_the_teachers_own(precision, training, expected):
    found = recorded(tiny.build(teacher_precision=precision), training)
    assert found['teacher'] == expected
    assert found['student'] == (training or torch.float32)
    assert all(v.isfinite().all() for v in found['losses'].values())
    distill = [v for k, v in found['losses'].items() if k.startswith('distill.')]
    assert [v.dtype for v in distill] == [torch.float32] * 3


def test_low_precision_changes_the_teacher_alone():
    def run(**kwargs):
        torch.manual_seed(0)
        return recorded(tiny.build(**kwargs))['losses']

    full, half = run(), run(teacher_precision='bfloat16')
    for name, value in full.items():
        if name.startswith('student.'):
            assert torch.equal(half[name], value)
        else:
            assert not torch.equal(half[name], value)
            torch.testing.assert_close(half[name], value, rtol=0.05, atol=0)


def test_unknown_precision():
    with pytest.raises(DistillationError, match=(
            r"teacher_precision='half': expected None .* float32, float16, bfloat16")):
        tiny.build(teacher_precision='half')


def test_channels_last_is_the_teachers_alone():
    def run(**kwargs):
        torch.manual_seed(0)
        model = tiny.build(**kwargs)
        return model, recorded(model)

    plain_model, plain = run()
    model, found = run(teacher_channels_last=True)
    last = dict(memory_format=torch.channels_last)
    for net, expected in ((network(model), True), (model.student, False),
                          (network(plain_model), False)):
        weight = net.backbone.project.weight
        assert weight.is_contiguous(**last) == expected
        assert weight.is_contiguous() != expected
    assert found['teacher_input'].is_contiguous(**last)
    assert not plain['teacher_input'].is_contiguous(**last)
    assert not found['student_input'].is_contiguous(**last)
    for name, value in plain['losses'].items():
        torch.testing.assert_close(found['losses'][name], value, rtol=1e-5, atol=0)


def test_fused_teacher_gives_the_same_losses(tmp_path):
    path = tmp_path / 'teacher.pth'
    tiny.save_teacher(path)
    found = {}
    for fuse in (False, True):
        torch.manual_seed(0)
        model = tiny.build(teacher_ckpt=str(path), fuse_teacher=fuse)
        model.load_teacher()
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in network(model).modules())
        assert norms == (0 if fuse else 2)
        assert not any(p.requires_grad for p in network(model).parameters())
        assert not any(m.training for m in network(model).modules())
        found[fuse] = tiny.losses(model)
    for name, value in found[False].items():
        torch.testing.assert_close(found[True][name], value, rtol=1e-4, atol=0)


@pytest.mark.parametrize('source', ['backbone.stem.conv', 'backbone.stem.bn'])
def test_fusing_what_is_recorded_is_refused(source):
    distiller = tiny.one_pair(
        'backbone.stem', source, dict(in_channel=4, out_channel=6))
    model = tiny.build(distiller=distiller, fuse_teacher=True)
    with pytest.raises(DistillationError, match=(
            'fuse_teacher=True changes what teacher_recorders.map records '
            rf"\('{source}'\): record the layer after the BatchNorm")):
        model.load_teacher()


@pytest.mark.parametrize('option', [
    dict(teacher_trainable=True), dict(teacher_norm_eval=False),
    dict(student_trainable=False)])
def test_options_that_contradict_a_frozen_teacher(option):
    (name, value), = option.items()
    with pytest.raises(TypeError, match=f'{name}={value}: .* always frozen'):
        tiny.build(**option)


def test_batch_is_seen_within_the_context_only():
    model = tiny.build()
    large = tiny.prepared(model)['inputs']
    small = model.student_view(large)
    with tiny.seen(network(model).backbone) as seen:
        with model.teacher.seeing(large):
            model.teacher(small)
        model.teacher(small)
        with pytest.raises(KeyError), model.teacher.seeing(large):
            raise KeyError
        model.teacher(small)
    assert [x is large for x in seen] == [True, False, False]
    assert [x is small for x in seen] == [False, True, True]
