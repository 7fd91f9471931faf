"""NFDLoss by hand."""

import math

import pytest
import torch

from fastsegformer_mm.distillation.losses import NFDLoss

# One channel, one row of two pixels: whatever they are, the unbiased deviation of
# (a, b) is |a - b| / sqrt(2), so that Normal gives (1, -1) / sqrt(2) or its negative.
STUDENT = torch.tensor([1.0, 3.0]).double().view(1, 1, 1, 2)
TEACHER = torch.tensor([10.0, 2.0]).double().view(1, 1, 1, 2)


def random_maps(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]


def test_two_pixels_by_hand():
    # Normal(t) - Normal(s) = (2, -2) / sqrt(2), its norm 2, over two pixels
    assert NFDLoss()(STUDENT, TEACHER).item() == pytest.approx(1, abs=1e-6)
    assert NFDLoss()(STUDENT, -TEACHER).item() == pytest.approx(0, abs=1e-6)


def test_two_pixels_by_hand_as_the_official_code():
    # t - s = (9, -1)
    value = NFDLoss(mode='code')(STUDENT, TEACHER).item()
    assert value == pytest.approx(math.sqrt(82) / 2, rel=1e-12)


def test_epsilon_by_hand():
    # with eps = 2, Normal(s) = (-1, 1) / sqrt(2 + 2), Normal(t) = (4, -4) / sqrt(34)
    difference = 4 / math.sqrt(34) + 1 / 2
    value = NFDLoss(eps=2)(STUDENT, TEACHER).item()
    assert value == pytest.approx(math.sqrt(2) * difference / 2, rel=1e-12)


def test_two_channels_are_one_norm():
    student = torch.cat([STUDENT, STUDENT], 1)
    teacher = torch.cat([TEACHER, -TEACHER], 1)
    # one channel as above, one equal: sqrt(2^2 + 0) / 2
    assert NFDLoss()(student, teacher).item() == pytest.approx(1, abs=1e-6)
    # both: sqrt(2^2 + 2^2) / 2
    teacher = torch.cat([TEACHER, TEACHER], 1)
    value = NFDLoss()(student, teacher).item()
    assert value == pytest.approx(math.sqrt(2), abs=1e-6)


def test_official_code_takes_one_norm_over_the_batch():
    student, teacher = random_maps((3, 4, 5, 6), (3, 4, 5, 6))
    loss = NFDLoss(mode='code')
    pairs = zip(student.split(1), teacher.split(1))
    single = torch.stack([loss(*pair) for pair in pairs])
    # norms add as squares; dividing by the batch is left out
    whole = loss(student, teacher).item()
    assert whole == pytest.approx(single.square().sum().sqrt().item(), rel=1e-12)
    assert whole != pytest.approx(single.mean().item(), rel=1e-2)


def test_normal_has_mean_zero_and_unbiased_deviation_one():
    feature = 5 * random_maps((2, 3, 6, 7))[0] - 4
    normal = NFDLoss(eps=1e-14).normal(feature)
    torch.testing.assert_close(normal.mean((2, 3)), torch.zeros(2, 3).double())
    deviation = normal.std((2, 3), correction=1)
    torch.testing.assert_close(deviation, torch.ones(2, 3).double())


def test_magnitude_of_either_map_does_not_count():
    student, teacher = random_maps((2, 3, 6, 6), (2, 3, 9, 9))
    loss = NFDLoss()
    value = loss(student, teacher).item()
    scale = torch.tensor([2.0, 30.0, 0.7]).double().view(1, 3, 1, 1)
    shift = torch.tensor([-5.0, 100.0, 0.2]).double().view(1, 3, 1, 1)
    for pair in (
        (student * scale + shift, teacher),
        (student, teacher * scale + shift),
        (student * 4, teacher / 2),
    ):
        assert loss(*pair).item() == pytest.approx(value, rel=1e-5)
    # it does in the official code
    code = NFDLoss(mode='code')
    assert code(student * 4, teacher).item() > 2 * code(student, teacher).item()


def test_constant_channel_becomes_zero():
    student, teacher = random_maps((1, 1, 4, 4), (1, 1, 4, 4))
    constant = torch.full_like(student, 7.0)
    # what is left is Normal(t), whose squares sum to H W - 1
    value = NFDLoss()(constant, teacher).item()
    assert value == pytest.approx(math.sqrt(15) / 16, abs=1e-6)
    assert NFDLoss()(constant, -3 * constant).item() == 0


@pytest.mark.parametrize('eps', [1e-6, 1e-2])
def test_gradient_of_a_nearly_constant_channel_is_bounded(eps):
    student = torch.full((1, 1, 4, 4), 1.0).double()
    student[..., 0, 0] += 1e-9
    student.requires_grad_()
    teacher = random_maps((1, 1, 4, 4))[0]
    NFDLoss(eps=eps)(student, teacher).backward()
    # the norm's own gradient has length 1, over 16 pixels; centring shrinks it
    assert 0 < student.grad.norm() <= eps**-0.5 / 16


def test_single_pixel_is_refused_where_it_has_no_deviation():
    student, teacher = torch.rand(2, 3, 1, 1), torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match="student's map has a single one"):
        NFDLoss()(student, teacher)
    with pytest.raises(ValueError, match="teacher's map has a single one"):
        NFDLoss()(teacher, student)
    value = NFDLoss(mode='code')(student, teacher).item()
    # aligned corners: the first pixel is what is left of the teacher's map
    expected = (teacher[..., :1, :1] - student).norm().item()
    assert value == pytest.approx(expected)


def test_defaults():
    loss = NFDLoss()
    assert (loss.loss_weight, loss.mode, loss.eps) == (1, 'paper', 1e-6)
    assert 'eps=0.5' in repr(NFDLoss(eps=0.5))


@pytest.mark.parametrize('eps', [0, -1e-6])
def test_epsilon_above_zero_is_required(eps):
    with pytest.raises(ValueError, match=f'eps must be above 0, got {eps}'):
        NFDLoss(eps=eps)


def test_channels_are_named_in_the_message():
    with pytest.raises(ValueError, match='as many images and channels'):
        NFDLoss()(torch.rand(1, 4, 2, 2), torch.rand(1, 5, 2, 2))
