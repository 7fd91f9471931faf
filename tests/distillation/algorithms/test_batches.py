"""What student and teacher are shown of one batch."""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import interpolate

from fastsegformer_mm.distillation import DistillationError

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


def inputs_of_both(model, data):
    with (
        tiny.seen(model.student.backbone) as student,
        tiny.seen(model.teacher.network.backbone) as teacher,
    ):
        model(**data, mode='loss')
    assert len(student) == len(teacher) == 1
    return student[0], teacher[0]


@pytest.mark.parametrize('align_corners', [True, False])
def test_student_sees_the_batch_resized(align_corners):
    model = tiny.build(student_size=(24, 40), align_corners=align_corners)
    data = tiny.prepared(model)
    student, teacher = inputs_of_both(model, data)
    assert teacher is data['inputs']
    expected, other = (
        interpolate(data['inputs'], (24, 40), mode='bilinear', align_corners=corners)
        for corners in (align_corners, not align_corners))
    assert torch.equal(student, expected)
    assert not torch.allclose(student, other, atol=1e-3)


def test_corners_are_aligned_as_in_the_official_code():
    model = tiny.build()
    assert model.align_corners is True
    data = tiny.prepared(model)
    corners = model.student_view(data['inputs'])[:, :, ::31, ::31]
    assert torch.equal(corners, data['inputs'][:, :, ::63, ::63])


@pytest.mark.parametrize('size', [None, 64, (64, 64), [64, 64]])
def test_same_size_is_the_same_class_and_the_same_images(size):
    model = tiny.build(student_size=size)
    data = tiny.prepared(model)
    student, teacher = inputs_of_both(model, data)
    assert student is teacher is data['inputs']


@pytest.mark.parametrize('size', [0, -32, (32,), (32, 0), (32, 32, 3), 32.0, '32'])
def test_impossible_student_size(size):
    with pytest.raises(DistillationError, match=(
            re.escape(f'student_size={size!r}: expected None, a number of pixels'))):
        tiny.build(student_size=size)


def test_labels_stay_at_full_size():
    """The student's losses are its own, on small images and large labels."""
    model = tiny.build()
    data = tiny.prepared(model)
    found = model(**data, mode='loss')
    small = interpolate(data['inputs'], 32, mode='bilinear', align_corners=True)
    expected = model.student.loss(small, data['data_samples'])
    assert data['data_samples'][0].gt_sem_seg.shape == (64, 64)
    assert list(expected) == ['decode.loss_ce', 'decode.acc_seg']
    for name, value in expected.items():
        assert torch.equal(found[f'student.{name}'], value)
    coarse = tiny.prepared(model)['data_samples']
    for sample in coarse:
        labels = sample.gt_sem_seg.data[:, ::2, ::2]
        del sample.gt_sem_seg.data
        sample.gt_sem_seg.data = labels
    assert not torch.equal(
        model.student.loss(small, coarse)['decode.loss_ce'],
        expected['decode.loss_ce'])


@pytest.mark.parametrize(('student', 'teacher'), [
    ({}, IMAGENET),
    (IMAGENET, {}),
    (IMAGENET, dict(IMAGENET, bgr_to_rgb=False)),
    (dict(IMAGENET, bgr_to_rgb=False), {}),
    (dict(mean=None, std=None), IMAGENET),
    (dict(mean=[10.0], std=[100.0], pad_val=3), dict(IMAGENET, pad_val=-2)),
    (dict(IMAGENET, size_divisor=None, size=(96, 96)), dict(pad_val=0.5)),
])
def test_each_network_has_its_own_preprocessor(student, teacher):
    """The teacher's input is what its own would have made, padding included."""
    model = tiny.build(
        architecture=tiny.student(preprocessor=student),
        teacher=tiny.teacher(preprocessor=teacher))

    def batch():
        first, second = (tiny.batch(1, size, seed=size[0]) for size in
                         ((60, 52), (41, 64)))
        return {k: first[k] + second[k] for k in first}

    data = model.data_preprocessor(batch(), True)
    before = data['inputs'].clone()
    _, seen = inputs_of_both(model, data)
    own = model.teacher.network.data_preprocessor
    own.size, own.size_divisor = model.data_preprocessor.size, model.data_preprocessor.\
        size_divisor
    expected = own(batch(), True)['inputs']
    assert expected.shape[2:] in ((64, 64), (96, 96))
    assert not torch.allclose(before, expected, atol=0.1)
    torch.testing.assert_close(seen, expected, atol=1e-5, rtol=0)
    assert torch.equal(data['inputs'], before)


def test_both_names_of_a_reversed_channel_order_are_one():
    model = tiny.build(teacher=tiny.teacher(
        preprocessor=dict(bgr_to_rgb=False, rgb_to_bgr=True)))
    data = tiny.prepared(model)
    assert inputs_of_both(model, data)[1] is data['inputs']


@pytest.mark.parametrize('role', ['student', 'teacher'])
def test_unknown_preprocessor(role):
    cfg = getattr(tiny, role)()
    cfg['data_preprocessor'] = dict(type='mmengine.BaseDataPreprocessor')
    name = 'architecture' if role == 'student' else role
    with pytest.raises(DistillationError, match=(
            f'the {role} has the data preprocessor BaseDataPreprocessor; only '
            'SegDataPreProcessor')):
        tiny.build(**{name: cfg})
