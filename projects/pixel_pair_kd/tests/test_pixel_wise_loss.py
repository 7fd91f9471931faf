"""PixelWiseLoss: values by hand, gradients, unequal maps, AMP."""

import importlib

import pytest
import torch
from torch.nn import functional as F

from fastsegformer_mm.compat import import_mmrazor

MODELS = import_mmrazor().registry.MODELS
PixelWiseLoss = importlib.import_module('pixel_pair_kd.losses').PixelWiseLoss
every_mode = pytest.mark.parametrize('mode', ['paper', 'code'])


def maps(student=(2, 5, 6, 8), teacher=(2, 5, 6, 8), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)
        for s in (student, teacher)
    )
    return first.requires_grad_(), second


def test_paper_is_the_mean_squared_difference():
    student, teacher = maps()
    expected = F.mse_loss(student, teacher).item()
    assert expected > 1
    assert PixelWiseLoss()(student, teacher).item() == pytest.approx(expected)
    assert PixelWiseLoss(100)(student, teacher).item() == pytest.approx(100 * expected)
    # signs count: the map is that before the ReLU
    assert PixelWiseLoss()(student, -teacher).item() != pytest.approx(expected)


def test_code_is_the_response_normalised_by_columns():
    student, teacher = maps(teacher=(2, 3, 6, 8))
    responses = [F.normalize(m.square().mean(1), dim=1) for m in (student, teacher)]
    expected = F.mse_loss(*responses).item()
    loss = PixelWiseLoss(loss_weight=2, mode='code')
    assert loss(student, teacher).item() == pytest.approx(2 * expected, rel=1e-9)
    # signs and magnitudes do not count
    assert loss(student, -5 * teacher).item() == pytest.approx(2 * expected, rel=1e-9)


def test_code_by_hand():
    """Two columns of two pixels; energies 9 16 | 1 0 and 1 0 | 1 0."""
    student = torch.tensor([[3.0, 1.0], [-4.0, 0.0]]).view(1, 1, 2, 2)
    teacher = torch.tensor([[1.0, -1.0], [0.0, 0.0]]).expand(1, 3, 2, 2)
    norm = (9**2 + 16**2) ** 0.5
    expected = ((9 / norm - 1) ** 2 + (16 / norm) ** 2) / 4
    loss = PixelWiseLoss(mode='code')
    assert loss(student, teacher).item() == pytest.approx(expected)
    # the bound that the docstring gives, 2 / H
    assert loss(teacher, teacher.flip(2)).item() == pytest.approx(1)
    # a column's length is that of its energies and eps
    nearly = PixelWiseLoss(mode='code', eps=3**0.5)(teacher, 0 * teacher)
    assert nearly.item() == pytest.approx(0.5**2 / 2)


@every_mode
def test_is_zero_where_both_are_equal(mode):
    student, _ = maps()
    value = PixelWiseLoss(mode=mode)(student, student.detach().clone())
    assert value.item() == pytest.approx(0, abs=1e-15)
    value.backward()
    assert student.grad.abs().max() < 1e-15


@every_mode
@pytest.mark.parametrize('teacher_size', [(3, 4), (7, 5)])
def test_gradient_is_that_of_finite_differences(mode, teacher_size):
    student, teacher = maps((2, 3, 3, 4), (2, 3, *teacher_size))
    loss = PixelWiseLoss(loss_weight=3, mode=mode)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)
    teacher.requires_grad_()
    loss(student, teacher).backward()
    assert teacher.grad is None


@every_mode
def test_teacher_is_resized_bilinearly_with_aligned_corners(mode):
    student, teacher = maps(teacher=(2, 5, 9, 11))
    loss = PixelWiseLoss(mode=mode)
    resized = F.interpolate(teacher, (6, 8), mode='bilinear', align_corners=True)
    assert loss(student, teacher).item() == loss(student, resized).item()


@every_mode
def test_is_finite_on_constant_maps(mode):
    loss = PixelWiseLoss(mode=mode)
    for student_value, teacher_value in ((0, 0), (0, 5), (1e4, 0), (-3, 7), (1e-20, 1)):
        student = torch.full((2, 3, 4, 4), float(student_value), requires_grad=True)
        value = loss(student, torch.full((2, 3, 4, 4), float(teacher_value)))
        value.backward()
        difference = student_value - teacher_value
        if mode == 'code':
            difference = ((abs(student_value) > 1e-9) - (teacher_value != 0)) / 2
        assert value.item() == pytest.approx(difference**2, abs=1e-9)
        assert student.grad.isfinite().all()


@every_mode
@pytest.mark.parametrize(
    'dtype',
    [pytest.param(torch.float16, marks=pytest.mark.cpu_float16), torch.bfloat16],
)
def test_is_float32_inside_autocast(mode, dtype):
    # squared, these exceed float16's 65504
    student, teacher = (m.detach().mul(300).to(dtype) for m in maps())
    loss = PixelWiseLoss(mode=mode)
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()


def test_is_in_mmrazors_registry():
    loss = MODELS.build(dict(type='mmrazor.PixelWiseLoss', loss_weight=100))
    assert type(loss) is PixelWiseLoss
    assert repr(loss) == "PixelWiseLoss(loss_weight=100, mode='paper', eps=1e-06)"


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mode='mse'), "mode must be 'paper' or 'code', got 'mse'"),
        (dict(eps=0), 'eps must be above 0, got 0'),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PixelWiseLoss(**options)


def test_unequal_channels_need_a_connector_in_mode_paper():
    student, teacher = maps(teacher=(2, 4, 6, 8))
    with pytest.raises(ValueError, match="type='ConvModuleConnector'"):
        PixelWiseLoss()(student, teacher)
    for mode, shape in (('paper', (1, 5, 6, 8)), ('code', (1, 4, 6, 8))):
        with pytest.raises(ValueError, match='cannot be compared'):
            PixelWiseLoss(mode=mode)(student, torch.rand(shape))
