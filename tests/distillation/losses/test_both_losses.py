"""What holds for PKLLoss and for NFDLoss, in both modes."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from fastsegformer_mm.compat import import_mmrazor
from fastsegformer_mm.distillation.losses import NFDLoss, PKLLoss

MODELS = import_mmrazor().registry.MODELS
LOSSES = [
    pytest.param(kind, mode, id=f'{kind.__name__}-{mode}')
    for kind in (PKLLoss, NFDLoss)
    for mode in ('paper', 'code')
]
each_loss = pytest.mark.parametrize(('kind', 'mode'), LOSSES)


def maps(*shapes, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]


@each_loss
def test_is_in_mmrazors_registry(kind, mode):
    loss = MODELS.build(dict(type=f'mmrazor.{kind.__name__}', mode=mode))
    assert type(loss) is kind
    assert loss.mode == mode
    assert list(loss.parameters()) == []
    assert repr(loss).count(f'mode={mode!r}') == 1


@each_loss
def test_is_zero_where_both_are_equal(kind, mode):
    student, _ = maps((2, 3, 5, 4), (2, 3, 5, 4))
    student.requires_grad_()
    value = kind(mode=mode)(student, student.detach().clone())
    assert value.item() == pytest.approx(0, abs=1e-15)
    value.backward()
    assert student.grad.abs().max() < 1e-15  # nan fails too


@each_loss
def test_no_gradient_reaches_the_teacher(kind, mode):
    student, teacher = maps((2, 3, 4, 4), (2, 3, 7, 7))
    student.requires_grad_()
    teacher.requires_grad_()
    kind(mode=mode)(student, teacher).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@each_loss
@pytest.mark.parametrize('teacher_size', [(3, 4), (7, 5)])
def test_gradient_is_that_of_finite_differences(kind, mode, teacher_size):
    student, teacher = maps((2, 3, 3, 4), (2, 3, *teacher_size))
    student.requires_grad_()
    loss = kind(loss_weight=3, mode=mode)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)


@each_loss
def test_teacher_is_resized_bilinearly_with_aligned_corners(kind, mode):
    student, teacher = maps((2, 3, 5, 4), (2, 3, 9, 11))
    loss = kind(mode=mode)
    resized = F.interpolate(teacher, (5, 4), mode='bilinear', align_corners=True)
    assert loss(student, teacher).item() == loss(student, resized).item()
    other = F.interpolate(teacher, (5, 4), mode='bilinear', align_corners=False)
    assert loss(student, other).item() != pytest.approx(loss(student, resized).item())


@each_loss
def test_weight_is_a_factor(kind, mode):
    pair = maps((2, 3, 5, 4), (2, 3, 5, 4))
    once = kind(mode=mode)(*pair).item()
    assert kind(loss_weight=2.5, mode=mode)(*pair).item() == pytest.approx(2.5 * once)
    assert kind(loss_weight=0, mode=mode)(*pair).item() == 0


@pytest.mark.parametrize('kind', [PKLLoss, NFDLoss])
def test_paper_is_the_default_and_the_mean_over_images(kind):
    student, teacher = maps((3, 4, 5, 6), (3, 4, 8, 8))
    loss = kind()
    assert loss.mode == 'paper'
    single = [loss(*pair).item() for pair in zip(student.split(1), teacher.split(1))]
    assert loss(student, teacher).item() == pytest.approx(sum(single) / 3, rel=1e-12)
    assert max(single) - min(single) > 1e-3


@each_loss
@pytest.mark.parametrize('shape', [(2, 3, 6, 6), (1, 1, 1, 2)])
def test_is_finite_on_constant_maps(kind, mode, shape):
    for student_value, teacher_value in ((0, 0), (0, 5), (1e4, 0), (-3, 7)):
        student = torch.full(shape, float(student_value), requires_grad=True)
        value = kind(mode=mode)(student, torch.full(shape, float(teacher_value)))
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


@each_loss
@pytest.mark.parametrize('scale', [1e4, 1e-20])
def test_is_finite_on_extreme_maps(kind, mode, scale):
    generator = torch.Generator().manual_seed(0)
    one_hot = F.one_hot(torch.randint(4, (2, 6, 6), generator=generator), 4)
    one_hot = one_hot.permute(0, 3, 1, 2).float()
    noise = torch.randn(2, 4, 6, 6, generator=generator)
    extremes = [
        scale * (2 * one_hot - 1),
        -scale * (2 * one_hot - 1),
        scale * one_hot,
        scale * noise,
    ]
    for values, teacher in itertools.product(extremes, extremes):
        student = values.clone().requires_grad_()
        value = kind(mode=mode)(student, teacher)
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


@each_loss
@pytest.mark.parametrize(
    'dtype',
    [pytest.param(torch.float16, marks=pytest.mark.cpu_float16), torch.bfloat16],
)
def test_is_float32_inside_autocast(kind, mode, dtype):
    pair = maps((2, 4, 6, 6), (2, 4, 9, 9), dtype=torch.float32)
    student, teacher = (m.mul(30).to(dtype) for m in pair)
    loss = kind(mode=mode)
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()


@pytest.mark.cpu_float16
@each_loss
def test_leaves_the_range_of_float16_safely(kind, mode):
    # squared and summed, these exceed float16's 65504
    student = torch.full((1, 2, 64, 64), 200.0, dtype=torch.float16)
    student[:, :, ::2] = -200
    teacher = -student
    with torch.autocast('cpu', torch.float16):
        value = kind(mode=mode)(student, teacher)
    expected = kind(mode=mode)(student.double(), teacher.double())
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


@each_loss
def test_maps_of_two_precisions_are_taken(kind, mode):
    student, teacher = maps((2, 4, 6, 6), (2, 4, 6, 6), dtype=torch.float32)
    loss = kind(mode=mode)
    half = teacher.to(torch.bfloat16)
    assert loss(student, half).item() == loss(student, half.float()).item()
    assert loss(student.double(), teacher).dtype == torch.float64


@each_loss
@pytest.mark.parametrize(
    'shape', [(1, 4, 6, 6), (2, 5, 6, 6), (2, 4, 6), (2, 4, 6, 6, 1)]
)
def test_maps_that_do_not_go_together_are_refused(kind, mode, shape):
    with pytest.raises(ValueError, match='cannot be compared') as error:
        kind(mode=mode)(torch.rand(2, 4, 6, 6), torch.rand(shape))
    message = str(error.value)
    assert '(2, 4, 6, 6)' in message
    assert str(shape) in message
    assert "type='ConvModuleConnector'" in message


@pytest.mark.parametrize('kind', [PKLLoss, NFDLoss])
def test_unknown_mode_is_refused(kind):
    with pytest.raises(ValueError, match="mode must be 'paper' or 'code', got 'page'"):
        kind(mode='page')
