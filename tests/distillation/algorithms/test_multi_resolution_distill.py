"""What MMRazor's parts do within MultiResolutionDistill."""

import copy
import gc
import runpy
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up


def recorders_of(model):
    return [
        recorder
        for manager in (
            model.distiller.student_recorders, model.distiller.teacher_recorders)
        for recorder in manager.recorders.values()]


def test_no_layer_works_in_place():
    """MMRazor's own search finds none of these on today's PyTorch."""
    model = tiny.build()
    for net in (model.student, model.teacher.network):
        kept = [m for m in net.modules() if hasattr(m, 'inplace')]
        assert {type(m).__name__ for m in kept} >= {'ReLU'}
        assert len(kept) >= 3
        assert [m.inplace for m in kept] == [False] * len(kept)
    net = tiny.MODELS.build(tiny.student())
    assert net.backbone.relu.inplace is True
    model.set_module_inplace_false(net, 'self.architecture')
    assert net.backbone.relu.inplace is False


@pytest.mark.parametrize('keep', [False, True])
def test_record_before_a_relu_is_not_overwritten(keep):
    """With the options that leave in-place layers alone, it is."""
    kwargs = dict(module_inplace=True, teacher_module_inplace=True) if keep else {}
    connector = dict(in_channel=8, out_channel=12)
    model = tiny.build(
        distiller=tiny.one_pair('backbone.project', 'backbone.project', connector),
        **kwargs)
    records = []
    model.distiller.distill_losses['loss_map'].register_forward_pre_hook(
        lambda _, args, kwargs: records.extend(kwargs.values()), with_kwargs=True)
    with tiny.seen(model.distiller.connectors['c']) as seen:
        tiny.losses(model)
    negative = [float(x.min()) < 0 for x in (seen[0], records[1])]
    assert negative == [not keep] * 2


def test_records_are_let_go():
    model = tiny.build()
    held = []
    for net in (model.student, model.teacher.network):
        for part in (net.backbone.stem, net.decode_head.conv_seg):
            part.register_forward_hook(lambda *args: held.append(weakref.ref(args[2])))
    for _ in range(2):
        tiny.total(tiny.losses(model)).backward()
        assert [r.data_buffer for r in recorders_of(model)] == [[]] * 4
    gc.collect()
    assert len(held) == 8
    assert [ref() for ref in held] == [None] * 8


def test_losses_are_those_of_the_records():
    """By the formulas' own modules, from the two networks' maps."""
    model = tiny.build()
    data = tiny.prepared(model)
    found = model(**data, mode='loss')
    small = model.student_view(data['inputs'])
    maps_s = model.student.backbone(small)
    with torch.no_grad():
        maps_t = model.teacher.network.backbone(data['inputs'])
        logits_t = model.teacher.network.decode_head(maps_t)
    logits_s = model.student.decode_head(maps_s)
    losses, connectors = model.distiller.distill_losses, model.distiller.connectors
    expected = dict(
        loss_first=losses['loss_first'](connectors['first'](maps_s[0]), maps_t[0]),
        loss_second=losses['loss_second'](connectors['second'](maps_s[1]), maps_t[1]),
        loss_logits=losses['loss_logits'](logits_s, logits_t))
    assert set(found) == {
        'student.decode.loss_ce', 'student.decode.acc_seg',
        *(f'distill.{k}' for k in expected)}
    for name, value in expected.items():
        assert float(value) > 0
        assert torch.equal(found[f'distill.{name}'], value)


def test_factor_of_the_distillation():
    model = tiny.build()
    assert model.distill_factor == 1
    full = tiny.losses(model)
    model.distill_factor = 0.25
    for name, value in tiny.losses(model).items():
        factor = 0.25 if name.startswith('distill.') else 1
        torch.testing.assert_close(value, full[name] * factor, rtol=1e-6, atol=0)


def test_without_the_students_own_losses():
    model = tiny.build(calculate_student_loss=False)
    assert sorted(tiny.losses(model)) == [
        'distill.loss_first', 'distill.loss_logits', 'distill.loss_second']


def test_stopped_distillation():
    """The teacher is not run, and every parameter still has a gradient."""
    model = tiny.build()
    expected = tiny.losses(model)['student.decode.loss_ce']
    model.distillation_stopped = True
    with tiny.seen(model.teacher.network.backbone) as seen:
        found = tiny.losses(model)
    assert seen == []
    assert torch.equal(found['student.decode.loss_ce'], expected)
    assert float(found['distill.loss_stopped'].detach()) == 0
    tiny.total(found).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(
        not p.grad.any() for p in model.distiller.connectors.parameters())
    assert all(p.grad.any() for n, p in model.student.named_parameters()
               if n.endswith('weight'))


def test_connectors_are_trained_with_the_student():
    model = tiny.build()
    names = [f'distiller.connectors.{c}.conv_module.conv.{p}'
             for c in ('first', 'second') for p in ('weight', 'bias')]
    assert [k for k in model.state_dict() if 'connectors' in k] == names
    assert [k for k, _ in model.named_parameters() if 'connectors' in k] == names
    optim_wrapper = build_optim_wrapper(model, dict(
        optimizer=dict(type='SGD', lr=0.1),
        paramwise_cfg=dict(custom_keys={'connectors': dict(lr_mult=2.0)})))
    rates = [group['lr'] for group in optim_wrapper.optimizer.param_groups]
    assert rates.count(0.2) == 4
    assert len(rates) == len(list(model.parameters()))
    before = tiny.weights(model)
    model.train_step(tiny.batch(), optim_wrapper)
    changed = [k for k, v in tiny.weights(model).items()
               if not torch.equal(v, before[k])]
    # a map normalised by its channel's mean does not depend on the connector's bias
    assert set(changed) >= {n for n in before if n.endswith('weight')}


def test_connectors_are_initialised():
    """By an init_cfg of their own too, which MMRazor's container did not reach."""
    distiller = tiny.distiller()
    distiller['connectors']['first'] = dict(
        type='MGDConnector', student_channels=4, teacher_channels=6,
        init_cfg=dict(type='Constant', layer='Conv2d', val=0.5, bias=0.25))
    model = tiny.build(distiller=distiller)
    second = model.distiller.connectors['second'].conv_module.conv
    nn.init.constant_(second.bias, 7)
    before = second.weight.clone()
    model.init_weights()
    first = model.distiller.connectors['first'].align
    assert torch.equal(first.weight, torch.full((6, 4, 1, 1), 0.5))
    assert torch.equal(first.bias, torch.full((6,), 0.25))
    # ConvModule initialises itself
    assert not torch.equal(second.weight, before)
    assert not second.bias.any()


def test_connectors_in_a_row():
    distiller = tiny.one_pair('backbone.stem', 'backbone.stem')
    connector = dict(type='ConvModuleConnector', act_cfg=None)
    distiller['connectors'] = dict(row=[
        dict(connector, in_channel=4, out_channel=5),
        dict(connector, in_channel=5, out_channel=6)])
    distiller['loss_forward_mappings']['loss_map']['preds_S']['connector'] = 'row'
    model = tiny.build(distiller=distiller)
    model.init_weights()
    tiny.total(tiny.losses(model)).backward()
    assert isinstance(model.distiller.connectors['row'], nn.Sequential)
    assert all(p.grad is not None for p in model.parameters())


def test_deliveries():
    """What the teacher's method gives is what the student's then gives."""
    distiller = tiny.distiller(distill_deliveries=dict(features=dict(
        type='MethodOutputs', max_keep_data=1,
        method_path='mmseg.models.decode_heads.FCNHead._forward_feature')))
    model = tiny.build(distiller=distiller, student_size=None)
    with (
        tiny.seen(model.student.decode_head.conv_seg) as student,
        tiny.seen(model.teacher.network.decode_head.conv_seg) as teacher,
    ):
        tiny.losses(model)
    assert len(student) == len(teacher) == 1
    assert student[0] is teacher[0]


def test_loss_and_state_are_mmrazors():
    """Its subclass keeps what its other tools expect of an algorithm."""
    model = tiny.build()
    assert [c.__name__ for c in type(model).__mro__[:3]] == [
        'MultiResolutionDistill', 'SingleTeacherDistill', 'BaseAlgorithm']
    assert model.student is model.architecture
    assert model.data_preprocessor is model.student.data_preprocessor
    again = tiny.build()
    again.load_state_dict(copy.deepcopy(model.state_dict()), strict=True)
    assert tiny.same(again.state_dict(), model.state_dict())


def test_predictions_are_the_students_alone():
    model = tiny.build().eval()
    inputs = tiny.prepared(model)['inputs']
    with torch.no_grad(), tiny.seen(model.teacher.network.backbone) as seen:
        found = model(inputs, mode='tensor')
        assert torch.equal(found, model.student(inputs, mode='tensor'))
    assert seen == []
    assert found.shape == (2, 4, 16, 16)


def test_top_level_preprocessor_is_not_taken():
    """Runner hands over that of the config's top level."""
    model = tiny.build(data_preprocessor=dict(tiny.PREPROCESSOR, std=[1.0] * 3))
    assert model.data_preprocessor is model.student.data_preprocessor
    assert float(tiny.prepared(model)['inputs'].max()) == 1
