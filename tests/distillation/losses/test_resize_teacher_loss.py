"""MMRazor's losses on maps of two sizes, and the alignment that all share."""

import pytest
import torch
from torch.nn import functional as F

from fastsegformer_mm.compat import import_mmrazor
from fastsegformer_mm.distillation.losses import ResizeTeacherLoss
from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)

MODELS = import_mmrazor().registry.MODELS
INNER = {
    'CWD': dict(type='mmrazor.ChannelWiseDivergence', tau=4, loss_weight=3),
    'KL': dict(type='mmrazor.KLDivergence', tau=2, loss_weight=0.5),
    'MGD': dict(type='mmrazor.MGDLoss', alpha_mgd=0.01),
    'DIST': dict(type='mmrazor.DISTLoss', tau=2),
    'PKD': dict(type='mmrazor.PKDLoss', loss_weight=6),
}


def maps(student=(2, 4, 5, 6), teacher=(2, 4, 9, 8), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator).to(dtype) for s in (student, teacher)]


@pytest.mark.parametrize('name', INNER)
def test_is_the_loss_of_the_resized_map(name):
    student, teacher = maps()
    resized = F.interpolate(teacher, (5, 6), mode='bilinear', align_corners=True)
    expected = MODELS.build(INNER[name])(student, resized).item()
    loss = ResizeTeacherLoss(INNER[name])
    assert loss(student, teacher).item() == expected
    weighted = ResizeTeacherLoss(INNER[name], loss_weight=0.25)
    assert weighted(student, teacher).item() == pytest.approx(expected / 4)


@pytest.mark.parametrize('name', INNER)
def test_gradient_reaches_the_student_alone(name):
    student, teacher = (m.requires_grad_() for m in maps())
    ResizeTeacherLoss(INNER[name])(student, teacher).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@pytest.mark.parametrize('name', INNER)
def test_channels_last_maps_and_autocast(name):
    student, teacher = maps()
    loss = ResizeTeacherLoss(INNER[name])
    pair = [m.to(torch.bfloat16) for m in (student, teacher)]
    expected = loss(*(m.float() for m in pair)).item()
    with torch.autocast('cpu', torch.bfloat16):
        value = loss(*(m.to(memory_format=torch.channels_last) for m in pair))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_is_built_from_a_config_and_nests():
    loss = MODELS.build(
        dict(type='mmrazor.ResizeTeacherLoss', loss=INNER['KL'], loss_weight=2)
    )
    assert type(loss).__name__ == 'ResizeTeacherLoss'
    assert type(loss.loss).__name__ == 'KLDivergence'
    assert loss.loss_weight == 2


@pytest.mark.parametrize(
    'teacher', [(1, 4, 9, 8), (2, 3, 9, 8), (2, 4), (2, 4, 9), (2, 4, 9, 8, 7)]
)
def test_unequal_images_or_channels_are_refused(teacher):
    pair = maps(teacher=teacher)
    with pytest.raises(ValueError, match='as many images and channels') as error:
        ResizeTeacherLoss(INNER['KL'])(*pair)
    assert f'student (2, 4, 5, 6) and teacher {teacher}' in str(error.value)


def test_alignment_of_equal_sizes_is_the_map_itself():
    student, teacher = maps(teacher=(2, 4, 5, 6))
    assert to_student_size(student, teacher) is teacher


def test_alignment_of_unequal_channels_where_they_are_permitted():
    student, teacher = maps(teacher=(2, 3, 9, 8))
    aligned = to_student_size(student, teacher, None)
    assert torch.equal(aligned, to_student_size(student[:, :3], teacher))


@pytest.mark.parametrize('shape', [(1, 3, 9, 8), (2, 4), (2, 4, 9)])
def test_alignment_of_other_shapes_is_refused(shape):
    with pytest.raises(ValueError, match='as many images; channels may') as error:
        to_student_size(*maps(teacher=shape), None)
    assert f'student (2, 4, 5, 6) and teacher {shape}' in str(error.value)


def test_alignment_by_hand():
    # aligned corners: ends stay, between them is the middle
    teacher = torch.tensor([0.0, 1.0, 5.0, 2.0, 8.0]).view(1, 1, 1, 5)
    aligned = to_student_size(torch.zeros(1, 1, 1, 3), teacher)
    assert aligned.flatten().tolist() == [0, 5, 8]
    # a larger student works as well
    aligned = to_student_size(torch.zeros(1, 1, 1, 9), teacher)
    expected = [0, 0.5, 1, 3, 5, 3.5, 2, 5, 8]
    assert aligned.flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ('student', 'teacher', 'expected'),
    [
        ('float16', 'float16', 'float32'),
        ('bfloat16', 'float32', 'float32'),
        ('float32', 'float16', 'float32'),
        ('float16', 'float64', 'float64'),
        ('float64', 'float32', 'float64'),
    ],
)
def test_full_precision(student, teacher, expected):
    dtypes = [getattr(torch, name) for name in (student, teacher, expected)]
    first, second = (m.to(d).requires_grad_() for m, d in zip(maps(), dtypes))
    with torch.autocast('cpu', torch.bfloat16):
        with full_precision(first, second) as pair:
            assert [m.dtype for m in pair] == [dtypes[2]] * 2
            assert [m.requires_grad for m in pair] == [True, False]
            assert not torch.is_autocast_cpu_enabled()
            product = pair[0].flatten(1) @ pair[0].flatten(1).T
            assert product.dtype == dtypes[2]
        assert torch.is_autocast_cpu_enabled()
