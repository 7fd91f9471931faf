"""CutMix and ClassMix, alone and before a distillation."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fastsegformer_mm.distillation.mixing import ClassMix, CutMix

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'tiny.py')))
set_up = tiny.set_up


def plain(count=4, size=20):
    """Images and labels that say which image they are of."""
    images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, size, size).float()
    return images, torch.arange(count).view(-1, 1, 1).expand(-1, size, size)


@pytest.mark.parametrize('area', [(0.25, 0.25), (0.1, 0.5), (1.0, 1.0)])
def test_cutmix_pastes_one_rectangle_into_image_and_label(area):
    images, labels = plain()
    mixed, changed = CutMix(prob=1, area=area)(images, labels, torch.ones(4), labels)
    assert torch.equal(mixed, changed[:, None].expand(-1, 3, -1, -1).float())
    for k, label in enumerate(changed):
        rows, columns = (label != k).nonzero(as_tuple=True)
        height, width = (int(x.max() - x.min()) + 1 for x in (rows, columns))
        assert len(label[label != k].unique()) == 1
        assert len(rows) == height * width  # a whole rectangle
        assert area[0] * 400 * 0.8 <= height * width <= area[1] * 400 * 1.2
    assert torch.equal(images, plain()[0])


def test_partners_are_of_the_same_kind():
    images, labels = plain(6)
    groups = torch.tensor([True, True, False, False, False, True])
    for _ in range(20):
        _, changed = CutMix(1, (1, 1))(images, labels, groups, labels)
        partner = changed[:, 0, 0]
        assert sorted(partner.tolist()) == list(range(6))
        assert (partner != torch.arange(6)).all()
        assert torch.equal(groups[partner], groups)


def test_probability_and_randomness_of_torch():
    images, labels = plain(400)

    def share(prob):
        _, changed = CutMix(prob, (1, 1))(images, labels, torch.ones(400), labels)
        return (changed[:, 0, 0] != torch.arange(400)).float().mean().item()

    assert share(0) == 0
    assert share(1) == 1
    assert 0.15 < share(0.25) < 0.35
    state = torch.get_rng_state()

    def draw():
        return CutMix(0.5)(images, labels, torch.ones(400), labels)[1]

    first = draw()
    assert not torch.equal(first, draw())
    torch.set_rng_state(state)
    assert torch.equal(first, draw())


def test_classmix_pastes_half_of_the_classes():
    classes = torch.tensor([[0, 0, 1, 2, 3, 255]]).repeat(2, 1, 1)
    images = torch.stack([torch.zeros(3, 1, 6), torch.ones(3, 1, 6)])
    seen = set()
    for _ in range(60):
        mixed, labels = ClassMix(1)(images, classes, torch.ones(2), classes)
        pasted = mixed[0, 0, 0] == 1
        found = set(classes[0, 0][pasted].tolist())
        assert len(found) == 2
        assert 255 not in found
        assert all(pasted[classes[0, 0] == value].all() for value in found)
        assert torch.equal(labels, classes)  # both have the same
        seen.add(frozenset(found))
    assert len(seen) == 6  # every pair of four classes


def test_wrong_options():
    with pytest.raises(ValueError, match='ClassMix: prob=2; expected 0 to 1'):
        ClassMix(2)
    for area in ((0.5, 0.1), (0, 0.5), (0.1, 1.1)):
        with pytest.raises(ValueError, match='CutMix: area='):
            CutMix(area=area)


def unlabel(data, *which):
    for k, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(labelled=k not in which))
        if k in which:
            sample.gt_sem_seg.data.fill_(255)
    return data


def test_both_networks_see_the_mixed_view_and_labels_follow():
    model = tiny.build(batch_augment=dict(type='CutMix', prob=1, area=(1, 1)))
    data = unlabel(tiny.prepared(model, images=4), 2, 3)
    images = data['inputs'].clone()
    labels = torch.cat([s.gt_sem_seg.data for s in data['data_samples']])
    with (
        tiny.seen(model.student.backbone) as student,
        tiny.seen(model.teacher.network.backbone) as teacher,
    ):
        losses = model(**data, mode='loss')
    swapped = [1, 0, 3, 2]
    assert torch.equal(teacher[0], images[swapped])
    assert torch.equal(student[0], model.student_view(images[swapped]))
    mixed = torch.cat([s.gt_sem_seg.data for s in data['data_samples']])
    assert torch.equal(mixed, labels[swapped])
    assert (mixed[2:] == 255).all()
    assert all(torch.isfinite(value).all() for value in losses.values())


def test_classmix_asks_the_teacher_about_unlabelled_images(monkeypatch):
    model = tiny.build(batch_augment=dict(type='ClassMix', prob=1))
    data = unlabel(tiny.prepared(model, images=4), 2, 3)
    labels = torch.cat([s.gt_sem_seg.data for s in data['data_samples']])
    seen = {}

    def look(images, labels, groups, classes):
        seen.update(groups=groups, classes=classes)
        return images, labels

    expected = model.teacher(data['inputs'])
    monkeypatch.setattr(model.batch_augment, '__class__', type(
        'Look', (ClassMix,), {'__call__': staticmethod(look)}))  # fmt: skip
    with tiny.seen(model.teacher.network.backbone) as teacher:
        model(**data, mode='loss')
    assert len(teacher) == 2  # once to mix, once to teach
    assert seen['groups'].tolist() == [True, True, False, False]
    assert torch.equal(seen['classes'][:2], labels[:2])
    size = labels.shape[1:]
    guessed = torch.nn.functional.interpolate(expected, size, mode='bilinear').argmax(1)
    assert torch.equal(seen['classes'][2:], guessed[2:])


def test_unlabelled_images_are_silent_in_the_students_losses():
    """With avg_non_ignore the loss is that of the labelled images alone."""
    network = tiny.student(norm='GN')  # BatchNorm would see the other images
    network['decode_head']['loss_decode']['avg_non_ignore'] = True
    model = tiny.build(architecture=network)
    data = unlabel(tiny.prepared(model, images=4), 2, 3)
    found = model(**data, mode='loss')
    assert found['distill.loss_logits'] > 0
    half = model.student_view(data['inputs'][:2])
    alone = model.student.loss(half, data['data_samples'][:2])
    assert torch.allclose(found['student.decode.loss_ce'], alone['decode.loss_ce'])
    # none labelled: nothing from the labels, and nothing that is not finite
    nothing = unlabel(tiny.prepared(model, images=2), 0, 1)
    loss = model(**nothing, mode='loss')['student.decode.loss_ce']
    loss.backward()
    assert loss == 0
    gradients = [p.grad for p in model.student.parameters() if p.grad is not None]
    assert all((g == 0).all() for g in gradients)


def test_mean_over_unlabelled_pixels_is_warned_of():
    model = tiny.build()
    with tiny.messages() as found:
        model(**unlabel(tiny.prepared(model, images=4), 3), mode='loss')
        model(**unlabel(tiny.prepared(model, images=4), 3), mode='loss')
    warnings = [m for m in found if 'avg_non_ignore=True' in m]
    assert len(warnings) == 1
    assert 'decode_head.loss_decode' in warnings[0]
