"""Distillation of batches of which some images have no label, and mixed ones."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
CUT_MIX = dict(type='CutMix', area=(1, 1), prob=1)


def silent(**kwargs):
    """A student whose labels count the same beside unlabelled images.

    GroupNorm, since BatchNorm's statistics are of all images.
    """
    network = tiny.student(norm='GN', **kwargs)
    network['decode_head']['loss_decode']['avg_non_ignore'] = True
    return network


def prepared(model, images=4, unlabelled=(2, 3)):
    data = tiny.prepared(model, images=images)
    for k, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(labelled=k not in unlabelled))
        if k in unlabelled:
            sample.gt_sem_seg.data.fill_(255)
    return data


def labels_of(samples):
    return torch.cat([s.gt_sem_seg.data for s in samples])


def gradients(model):
    return {n: p.grad.clone() for n, p in model.student.named_parameters()
            if p.grad is not None}


@pytest.mark.parametrize('student_size', [None, 32])
def test_the_students_loss_is_that_of_the_labelled_images(student_size):
    model = tiny.build(architecture=silent(), student_size=student_size)
    data = prepared(model)
    found = model(**data, mode='loss')
    found['student.decode.loss_ce'].backward()
    with_others = gradients(model)
    model.zero_grad()
    images = model.student_view(data['inputs'][:2])
    alone = model.student.loss(images, data['data_samples'][:2])
    alone['decode.loss_ce'].backward()
    torch.testing.assert_close(
        found['student.decode.loss_ce'], alone['decode.loss_ce'])
    torch.testing.assert_close(with_others, gradients(model))
    # over labelled pixels, too
    assert torch.equal(found['student.decode.acc_seg'], alone['decode.acc_seg'])


def test_nothing_labelled():
    model = tiny.build(architecture=silent())
    found = model(**prepared(model, 2, (0, 1)), mode='loss')
    assert found['student.decode.loss_ce'] == 0
    found['student.decode.loss_ce'].backward(retain_graph=True)
    assert all(not g.any() for g in gradients(model).values())
    tiny.total(found).backward()
    assert all(torch.isfinite(g).all() for g in gradients(model).values())
    assert any(g.any() for g in gradients(model).values())


LOSSES = {
    'PKLLoss': dict(type='PKLLoss'),
    'NFDLoss': dict(type='NFDLoss'),
    'CWD': dict(type='ChannelWiseDivergence', tau=1),
    'KLDivergence': dict(type='KLDivergence', reduction='mean'),
}


@pytest.mark.parametrize('student_size', [None, 32], ids=['kd1', 'kd2'])
@pytest.mark.parametrize('name', LOSSES)
def test_the_distillation_acts_on_all_images(name, student_size):
    """The loss is that of all four maps, and each image has a gradient of it."""
    config = LOSSES[name]
    if name in ('CWD', 'KLDivergence'):
        config = dict(type='ResizeTeacherLoss', loss=config)
    logits = dict(logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
    model = tiny.build(
        architecture=silent(), student_size=student_size,
        distiller=tiny.distiller(
            student_recorders=logits, teacher_recorders=logits, connectors={},
            distill_losses=dict(loss_it=config),
            loss_forward_mappings=dict(loss_it=tiny.pair('logits'))))
    data = prepared(model)
    found = model(**data, mode='loss')['distill.loss_it']
    images = model.student_view(data['inputs']).requires_grad_()
    logits_s = model.student(images, mode='tensor')
    logits_t = model.teacher(data['inputs'])
    expected = model.distiller.distill_losses['loss_it'](logits_s, logits_t)
    torch.testing.assert_close(found, expected)
    expected.backward()
    share = images.grad.flatten(1).norm(dim=1)
    assert (share > 0.2 * share.max()).all()


@pytest.mark.parametrize('student_size', [None, 32], ids=['kd1', 'kd2'])
def test_both_networks_see_the_mixed_view_and_the_labels_follow(student_size):
    model = tiny.build(
        architecture=silent(), student_size=student_size, batch_augment=CUT_MIX)
    data = prepared(model)
    images, labels = data['inputs'].clone(), labels_of(data['data_samples'])
    with (
        tiny.seen(model.student.backbone) as student,
        tiny.seen(model.teacher.network.backbone) as teacher,
    ):
        found = model(**data, mode='loss')
    swapped = [1, 0, 3, 2]  # each of a pair is the other's partner
    assert torch.equal(teacher[0], images[swapped])
    assert torch.equal(student[0], model.student_view(images[swapped]))
    assert len(teacher) == len(student) == 1
    logits = model.student(student[0], mode='tensor')
    logits = functional.interpolate(logits, (64, 64), mode='bilinear')
    expected = functional.cross_entropy(logits[:2], labels[[1, 0]])
    torch.testing.assert_close(found['student.decode.loss_ce'], expected)
    # nothing of the loader's batch has changed
    assert torch.equal(data['inputs'], images)
    assert torch.equal(labels_of(data['data_samples']), labels)


@pytest.mark.parametrize('channels', [4, 1])
def test_classmix_takes_the_teachers_classes(channels):
    def net(make):
        made = make(norm='GN') if make is tiny.teacher else silent()
        if channels == 1:
            made['decode_head'].update(num_classes=2, out_channels=1, threshold=0.5)
            made['decode_head']['loss_decode']['use_sigmoid'] = True
        return made

    logits = dict(logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
    model = tiny.build(
        architecture=net(tiny.student), teacher=net(tiny.teacher),
        batch_augment=dict(type='ClassMix', prob=1), student_size=None,
        distiller=tiny.distiller(
            student_recorders=logits, teacher_recorders=logits, connectors={},
            distill_losses=dict(loss_it=dict(type='PKLLoss')),
            loss_forward_mappings=dict(loss_it=tiny.pair('logits'))))
    data = prepared(model)
    for sample in data['data_samples'][:2]:
        sample.gt_sem_seg.data.clamp_(max=max(channels - 1, 1))
    scores = model.teacher(data['inputs'][2:])
    scores = functional.interpolate(scores, (64, 64), mode='bilinear')
    classes = scores.argmax(1) if channels > 1 else (scores[:, 0] > 0).long()
    assert len(classes[0].unique()) > 1
    with tiny.seen(model.teacher.network.backbone) as teacher:
        found = model(**data, mode='loss')
    assert [len(x) for x in teacher] == [2, 4]  # once to mix, once to teach
    assert torch.equal(teacher[0], data['inputs'][2:])
    changed = (teacher[1] != data['inputs']).any(1)
    for k, other in ((0, 1), (1, 0)):
        label = data['data_samples'][other].gt_sem_seg.data[0]
        assert {*label[changed[k]].tolist()}.isdisjoint(label[~changed[k]].tolist())
    for k, other in ((2, 1), (3, 0)):
        whole = classes[other]
        assert {*whole[changed[k]].tolist()}.isdisjoint(whole[~changed[k]].tolist())
        assert len(whole[changed[k]].unique()) == len(whole.unique()) // 2
    assert found['distill.loss_it'] > 0
    recorder = model.distiller.teacher_recorders.get_recorder('logits')
    assert recorder.data_buffer == []


@pytest.mark.parametrize('mix', ['CutMix', 'ClassMix'])
def test_control_without_a_teacher(mix):
    """Labelled images are mixed all the same; the teacher is not asked."""
    model = tiny.build(architecture=silent(), batch_augment=dict(type=mix, prob=1))
    model.distillation_stopped = True
    data = prepared(model)
    with (
        tiny.seen(model.teacher.network.backbone) as teacher,
        tiny.seen(model.student.backbone) as student,
    ):
        found = model(**data, mode='loss')
    assert teacher == []
    changed = (student[0] != model.student_view(data['inputs'])).flatten(1).any(1)
    assert changed.tolist() == [True, True] + [mix == 'CutMix'] * 2
    assert found['student.decode.loss_ce'] > 0


def test_without_it_nothing_is_mixed():
    torch.manual_seed(0)
    model = tiny.build(architecture=silent())
    data = prepared(model)
    state = torch.get_rng_state()
    first = model(**data, mode='loss')
    model.batch_augment = None
    torch.set_rng_state(state)
    assert tiny.same(first, model(**data, mode='loss'))


def test_unknown_kind():
    with pytest.raises(KeyError, match='MixUp'):
        tiny.build(batch_augment=dict(type='MixUp'))
