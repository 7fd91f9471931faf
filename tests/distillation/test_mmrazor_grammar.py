"""MMRazor's own losses, recorders, connectors and deliveries on our networks.

The algorithm is held against MMRazor's loss classes, called on what plain forward
hooks capture from the two networks, run one by one.
"""

import contextlib

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.models.backbones import ResNet
from mmseg.structures import SegDataSample
from torch.nn import functional as F

from fastsegformer_mm.compat import import_mmrazor
from fastsegformer_mm.distillation import DistillationError
from fastsegformer_mm.models.decode_heads import fastsegformer_head

mmrazor = import_mmrazor()
RAZOR = mmrazor.registry.MODELS
PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[0] * 3, std=[255] * 3, size_divisor=32)
HEADS = 'fastsegformer_mm.models.decode_heads'
LOGITS = dict(type='ModuleOutputs', source='decode_head.conv_seg')
RESIZE = f'{HEADS}.fastsegformer_head.resize'
RESNET = 'mmseg.models.backbones.resnet.ResNet.forward'


@pytest.fixture(autouse=True)
def _scope():
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def network(head, width, **kwargs):
    """Config of a segmentor of 4 classes, without anything random in training."""
    return dict(
        type='EncoderDecoderWithImage', _scope_='mmseg',
        data_preprocessor=PREPROCESSOR,
        backbone=dict(
            type='ResNetV1c', depth=18, base_channels=width, stem_channels=8),
        decode_head=dict(
            type=head, in_channels=[width * k for k in (1, 2, 4, 8)] + [3],
            num_classes=4, dropout_ratio=0, **kwargs),
        train_cfg=dict(), test_cfg=dict(mode='whole'))


def fastsegformer(width=8):
    return network(
        'FastSegFormerHead', width, channels=16, stem_channels=16,
        bottleneck_channels=[16], num_blocks=[1], branch_channels=8)


def att_unet():
    return network(
        'AttUNetHead', 12, bottleneck_channels=20, decoder_channels=(16, 12, 8, 8),
        skip_channels=(6, 5, 4, 3))


def algorithm(teacher=None, student_size=None, student_loss=True, **distiller):
    """A FastSegFormer taught by an attention U-Net, in training mode."""
    model = RAZOR.build(
        dict(
            type='MultiResolutionDistill', _scope_='mmrazor', allow_random_teacher=True,
            architecture=fastsegformer(), teacher=teacher or att_unet(),
            student_size=student_size, calculate_student_loss=student_loss,
            distiller=dict(type='ConfigurableDistiller', **distiller)))
    for buffer in model.teacher.network.buffers():  # as after a training
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.train()


def batch(model, size=64):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(
        256, (2, 3, size, size), generator=generator, dtype=torch.uint8)
    labels = torch.randint(4, (2, 1, size, size), generator=generator)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=x)) for x in labels]
    data = dict(inputs=list(images), data_samples=samples)
    return model.data_preprocessor(data, training=True)


@contextlib.contextmanager
def calls(network, name):
    """(inputs, output) of each call of a module, captured by a plain hook."""
    found = []
    handle = network.get_submodule(name).register_forward_hook(
        lambda module, args, output: found.append((args, output)))
    yield found
    handle.remove()


def alone(model, role, name, data):
    """The calls of a module when its network is run without the algorithm."""
    if role == 'teacher':
        with calls(model.teacher.network, name) as found, torch.no_grad():
            model.teacher.network(data['inputs'], mode='tensor')
    else:
        inputs = model.student_view(data['inputs'])
        with calls(model.student, name) as found:
            model.student(inputs, data['data_samples'], mode='loss')
    return found


def gradients(model, losses, name):
    """Names of the parameters that one loss alone gives a gradient."""
    model.zero_grad()
    losses[name].backward()
    assert all(p.grad is None for p in model.teacher.network.parameters())
    return {
        k for k, p in model.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0}


# MMRazor's losses: config, its class, connector of the student
CONV = dict(type='ConvModuleConnector', in_channel=16, out_channel=12, act_cfg=None)
MGD = dict(
    type='MGDConnector', student_channels=16, teacher_channels=12, lambda_mgd=0.65)
LOSSES = {
    'CWD': (dict(type='ChannelWiseDivergence', tau=4, loss_weight=3), None),
    'KL': (dict(type='KLDivergence', tau=2, loss_weight=0.5), None),
    'DIST': (dict(type='DISTLoss', tau=2, inter_loss_weight=0.5), None),
    'PKD': (dict(type='PKDLoss', loss_weight=6), CONV),
    'MGD': (dict(type='MGDLoss', alpha_mgd=0.01), MGD),
}


def razor_loss(cfg):
    return getattr(mmrazor.models.losses, cfg['type'])(
        **{k: v for k, v in cfg.items() if k != 'type'})


def own_loss(name, resized=False, **kwargs):
    """The algorithm with one of MMRazor's losses, on logits or on a feature map."""
    loss, connector = LOSSES[name]
    if resized:
        loss = dict(type='ResizeTeacherLoss', loss=loss)
    recorder = 'map' if connector else 'logits'
    first = dict(recorder=recorder, from_student=True)
    if connector:
        first['connector'] = 'c'
    second = dict(recorder=recorder, from_student=False)
    noun = 'logits' if name == 'DIST' and not resized else 'preds'
    return algorithm(
        student_recorders=dict(
            logits=LOGITS, map=dict(LOGITS, source='decode_head.fusion')),
        teacher_recorders=dict(
            logits=LOGITS, map=dict(LOGITS, source='decode_head.decoder.1')),
        connectors=dict(c=connector) if connector else None,
        distill_losses=dict(loss_x=loss),
        loss_forward_mappings=dict(loss_x={f'{noun}_S': first, f'{noun}_T': second}),
        **kwargs)


def by_hand(model, name, data, resized=False):
    """The value of the same loss, from the maps themselves."""
    loss, connector = LOSSES[name]
    modules = ('fusion', 'decoder.1') if connector else ('conv_seg', 'conv_seg')
    (_, student), (_, teacher) = (
        alone(model, role, f'decode_head.{module}', data)[0]
        for role, module in zip(('student', 'teacher'), modules))
    if connector:
        torch.manual_seed(7)  # MGD masks at random
        student = model.distiller.connectors['c'](student)
    if resized:
        assert student.shape != teacher.shape
        teacher = F.interpolate(
            teacher, student.shape[2:], mode='bilinear', align_corners=True)
    return razor_loss(loss)(student, teacher).item()


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('student_size', [None, 48])
def test_loss_of_mmrazor(name, student_size):
    # PKDLoss brings maps to one size itself
    resized = student_size is not None and name != 'PKD'
    model = own_loss(name, resized, student_size=student_size)
    data = batch(model)
    torch.manual_seed(7)
    losses = model(**data, mode='loss')
    own = {'student.decode.loss_ce', 'student.decode.acc_seg'}
    assert set(losses) == {*own, 'distill.loss_x'}
    expected = by_hand(model, name, data, resized)
    assert losses['distill.loss_x'].item() == pytest.approx(expected, rel=1e-6)
    assert expected > 1e-6
    reached = gradients(model, losses, 'distill.loss_x')
    connectors = {k for k, _ in model.named_parameters() if 'connectors' in k}
    assert len(connectors) == {'PKD': 2, 'MGD': 6}.get(name, 0)
    assert connectors <= reached
    assert 'architecture.backbone.layer1.0.conv1.weight' in reached


def test_total_is_the_sum_and_names_without_loss_are_left_out():
    mapping = dict(
        preds_S=dict(recorder='r', from_student=True),
        preds_T=dict(recorder='r', from_student=False))
    model = algorithm(
        student_recorders=dict(r=LOGITS), teacher_recorders=dict(r=LOGITS),
        distill_losses=dict(
            loss_cwd=LOSSES['CWD'][0], loss_kl=LOSSES['KL'][0], pkd=LOSSES['PKD'][0]),
        loss_forward_mappings=dict.fromkeys(('loss_cwd', 'loss_kl', 'pkd'), mapping))
    losses = model(**batch(model), mode='loss')
    total, logs = model.parse_losses(losses)
    assert logs['distill.pkd'] > 0
    parts = ('student.decode.loss_ce', 'distill.loss_cwd', 'distill.loss_kl')
    assert total.item() == pytest.approx(sum(losses[k].item() for k in parts))


# One kind of recorder for each network: its config; what of the record is compared;
# the module whose single call has the same, as 'in'put or 'out'put.
RECORDERS = {
    'inputs of a module': (
        dict(type='ModuleInputs', source='decode_head.conv_seg'),
        dict(data_idx=0), ('decode_head.conv_seg', 'in'),
        dict(type='ModuleInputs', source='decode_head.conv_seg'),
        dict(data_idx=0), ('decode_head.conv_seg', 'in')),
    'outputs of functions': (
        # the head's third resize, after two of the branch; the teacher's fifth
        dict(type='FunctionOutputs', source=RESIZE),
        dict(record_idx=2), ('decode_head.conv_seg', 'in'),
        dict(type='FunctionOutputs', source=f'{HEADS}.att_unet_head.resize'),
        dict(record_idx=4), ('decode_head.conv_seg', 'in')),
    'inputs of functions': (
        dict(type='FunctionInputs', source=RESIZE),
        dict(record_idx=2, data_idx=0), ('decode_head.branch', 'out'),
        dict(type='FunctionInputs', source=f'{HEADS}.att_unet_head.resize'),
        dict(record_idx=4, data_idx=0), ('decode_head.decoder.3', 'out')),
    'inputs and outputs of methods': (
        # only the student computes a loss
        dict(
            type='MethodInputs',
            source='mmseg.models.decode_heads.decode_head.BaseDecodeHead.loss_by_feat'),
        dict(data_idx=0), ('decode_head.conv_seg', 'out'),
        dict(type='MethodOutputs', source=f'{HEADS}.att_unet_head.AttUNetHead.forward'),
        {}, ('decode_head.conv_seg', 'out')),
}
L2 = dict(type='L2Loss', normalize=False, div_element=True)


def l2(first, second):
    """Config of a distiller that compares two records by the mean of squares."""
    return dict(
        distill_losses=dict(loss_l2=L2),
        loss_forward_mappings=dict(
            loss_l2=dict(
                s_feature=dict(recorder='r', from_student=True, **first),
                t_feature=dict(recorder='r', from_student=False, **second))))


@pytest.mark.parametrize('kind', RECORDERS)
def test_recorders(kind):
    recorder_s, where_s, module_s, recorder_t, where_t, module_t = RECORDERS[kind]
    model = algorithm(
        student_recorders=dict(r=recorder_s), teacher_recorders=dict(r=recorder_t),
        **l2(where_s, where_t))
    data = batch(model)
    for _ in range(2):  # nothing of the first iteration is left in the second
        losses = model(**data, mode='loss')
        maps = []
        for role, (name, side) in (('student', module_s), ('teacher', module_t)):
            ((inputs, output),) = alone(model, role, name, data)
            maps.append(inputs[0] if side == 'in' else output)
        expected = F.mse_loss(*maps).item()
        assert losses['distill.loss_l2'].item() == pytest.approx(expected, rel=1e-6)
    reached = gradients(model, losses, 'distill.loss_l2')
    assert 'architecture.backbone.layer1.0.conv1.weight' in reached


def test_parameters_are_recorded():
    source = dict(type='Parameter', source='backbone.stem.0.weight')
    model = algorithm(
        student_recorders=dict(r=source), teacher_recorders=dict(r=source),
        **l2({}, {}))
    ours = model.student.backbone.stem[0].weight
    theirs = model.teacher.network.backbone.stem[0].weight
    for _ in range(2):
        losses = model(**batch(model), mode='loss')
        expected = (ours - theirs).square().mean().item()
        assert losses['distill.loss_l2'].item() == pytest.approx(expected, rel=1e-6)
        assert gradients(model, losses, 'distill.loss_l2') == {
            'architecture.backbone.stem.0.weight'}
        torch.testing.assert_close(ours.grad, 2 * (ours - theirs) / ours.numel())
        with torch.no_grad():
            ours -= 10 * ours.grad


def test_several_calls_several_maps_and_chained_connectors():
    conv = dict(type='ConvModuleConnector', act_cfg=None)
    recorders = dict(
        relu=dict(LOGITS, source='backbone.layer1.0.relu'),
        maps=dict(LOGITS, source='backbone'))
    model = algorithm(
        student_recorders=recorders, teacher_recorders=recorders,
        connectors=dict(
            one=dict(conv, in_channel=8, out_channel=12),
            chain=[dict(conv, in_channel=16, out_channel=24),
                   dict(type='FBKDStudentConnector', in_channels=24)],
            teachers=dict(type='FBKDTeacherConnector', in_channels=24)),
        distill_losses=dict(loss_first=L2, loss_second=L2, loss_chain=L2),
        loss_forward_mappings={
            **{
                f'loss_{name}': dict(
                    s_feature=dict(
                        recorder='relu', from_student=True, record_idx=i,
                        connector='one'),
                    t_feature=dict(recorder='relu', from_student=False, record_idx=i))
                for i, name in enumerate(('first', 'second'))},
            'loss_chain': dict(
                s_feature=dict(
                    recorder='maps', from_student=True, data_idx=1, connector='chain',
                    connector_idx=1),
                t_feature=dict(
                    recorder='maps', from_student=False, data_idx=1,
                    connector='teachers', connector_idx=1))})
    data = batch(model)
    losses = model(**data, mode='loss')
    connectors = model.distiller.connectors
    student = alone(model, 'student', 'backbone.layer1.0.relu', data)
    teacher = alone(model, 'teacher', 'backbone.layer1.0.relu', data)
    assert len(student) == len(teacher) == 2
    for i, name in enumerate(('first', 'second')):
        # as it was recorded: no layer has written over it since
        expected = F.mse_loss(connectors['one'](student[i][1]), teacher[i][1])
        value = losses[f'distill.loss_{name}'].item()
        assert value == pytest.approx(expected.item(), rel=1e-6)
    ((_, maps_s),), ((_, maps_t),) = (
        alone(model, role, 'backbone', data) for role in ('student', 'teacher'))
    expected = F.mse_loss(
        connectors['chain'](maps_s[1])[1], connectors['teachers'](maps_t[1])[1])
    value = losses['distill.loss_chain'].item()
    assert value == pytest.approx(expected.item(), rel=1e-6)
    reached = gradients(model, losses, 'distill.loss_chain')
    assert {'distiller.connectors.chain.0.conv_module.conv.weight',
            'architecture.backbone.layer1.0.conv1.weight'} <= reached
    assert not any('.one.' in name for name in reached)


def test_method_is_delivered_from_the_teacher_to_the_student():
    original = ResNet.forward
    model = algorithm(
        teacher=fastsegformer(),
        distill_deliveries=dict(
            maps=dict(type='MethodOutputs', max_keep_data=1, method_path=RESNET)))
    data = batch(model)
    ((_, taught),) = alone(model, 'teacher', 'backbone', data)
    ((_, own),) = alone(model, 'student', 'backbone', data)
    for _ in range(2):
        with calls(model.student, 'decode_head.stem') as seen:
            losses = model(**data, mode='loss')
        # the student's head looks at the teacher's deepest map, not at its own
        torch.testing.assert_close(seen[0][0][0], taught[3], rtol=0, atol=0)
        assert not torch.equal(taught[3], own[3])
        assert ResNet.forward is original
        reached = gradients(model, losses, 'student.decode.loss_ce')
        assert 'architecture.decode_head.conv_seg.weight' in reached
        assert not any('backbone' in name for name in reached)


def test_function_is_delivered_from_the_teacher_to_the_student():
    original = fastsegformer_head.resize
    model = algorithm(
        teacher=fastsegformer(width=12),
        distill_deliveries=dict(
            up=dict(type='FunctionOutputs', max_keep_data=3, func_path=RESIZE)))
    data = batch(model)
    (((taught, *_), _),) = alone(model, 'teacher', 'decode_head.conv_seg', data)
    for _ in range(2):
        with calls(model.student, 'decode_head.conv_seg') as seen:
            losses = model(**data, mode='loss')
        torch.testing.assert_close(seen[0][0][0], taught, rtol=0, atol=0)
        assert fastsegformer_head.resize is original
    logits = model.student.decode_head.conv_seg(taught)
    labels = torch.cat([s.gt_sem_seg.data for s in data['data_samples']])
    assert losses['student.decode.loss_ce'].item() == pytest.approx(
        F.cross_entropy(logits, labels).item(), rel=1e-6)


def test_distillation_without_the_students_own_loss():
    model = algorithm(
        student_recorders=dict(r=LOGITS), teacher_recorders=dict(r=LOGITS),
        student_loss=False, **l2({}, {}))
    losses = model(**batch(model), mode='loss')
    assert set(losses) == {'distill.loss_l2'}
    assert losses['distill.loss_l2'].item() > 0


def test_own_loss_on_maps_of_two_sizes_names_the_way_out():
    model = own_loss('CWD', student_size=48)
    with pytest.raises(DistillationError, match='ResizeTeacherLoss') as error:
        model(**batch(model), mode='loss')
    assert str(error.value).startswith(
        'loss_x (ChannelWiseDivergence) cannot compare its pair '
        '(preds_S (2, 4, 48, 48), preds_T (2, 4, 64, 64))')
