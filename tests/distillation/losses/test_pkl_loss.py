"""PKLLoss by hand."""

import math

import pytest
import torch

from fastsegformer_mm.distillation.losses import PKLLoss

# Two classes, one row of two pixels. With tau=2 the logits are divided by 2.
#   pixel 1: student (0, 0), teacher (2 ln 3, 0): q_s = (1/2, 1/2), q_t = (3/4, 1/4)
#   pixel 2: both (0, 0): nothing
# KL(q_t || q_s) = 3/4 ln(3/2) + 1/4 ln(1/2)
# mean over the classes of the squared difference = (2 ln 3)^2 / 2
STUDENT = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
TEACHER = torch.zeros(1, 2, 1, 2, dtype=torch.float64)
TEACHER[0, 0, 0, 0] = 2 * math.log(3)
KL = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)  # 0.130812
SQUARES = (2 * math.log(3)) ** 2 / 2  # 2.413897


@pytest.mark.parametrize('k1', [0, 0.3, 0.5, 1])
def test_two_pixels_by_hand(k1):
    value = PKLLoss(tau=2, k1=k1)(STUDENT, TEACHER).item()
    assert value == pytest.approx((k1 * 4 * KL + (1 - k1) * SQUARES) / 2, rel=1e-12)


def test_two_pixels_by_hand_as_the_official_code():
    value = PKLLoss(tau=2, k1=0.3, mode='code')(STUDENT, TEACHER).item()
    # the squared difference is divided by the two pixels twice
    assert value == pytest.approx(0.3 * 4 * KL / 2 + 0.7 * SQUARES / 4, rel=1e-12)


def test_defaults_are_those_of_the_paper():
    loss = PKLLoss()
    assert (loss.tau, loss.k1, loss.loss_weight, loss.mode) == (2, 0.5, 1, 'paper')
    value = loss(STUDENT, TEACHER).item()
    assert value == pytest.approx((4 * KL + SQUARES) / 4, rel=1e-12)
    assert value == pytest.approx(0.734286, abs=1e-6)


def test_temperature_by_hand():
    # tau=1: q_t = (9/10, 1/10) in pixel 1
    kl = 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    assert PKLLoss(tau=1, k1=1)(STUDENT, TEACHER).item() == pytest.approx(kl / 2)
    # the squared difference is that of the logits themselves
    assert PKLLoss(tau=1, k1=0)(STUDENT, TEACHER).item() == pytest.approx(SQUARES / 2)


def test_kl_is_of_the_teacher_against_the_student():
    value = PKLLoss(tau=2, k1=1)(TEACHER, STUDENT).item()
    reverse = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert value == pytest.approx(4 * reverse / 2, rel=1e-12)
    assert value != pytest.approx(4 * KL / 2, rel=1e-2)


def test_gradient_by_hand():
    student = STUDENT.clone().requires_grad_()
    PKLLoss(tau=2, k1=0.5)(student, TEACHER).backward()
    # KL: tau (q_s - q_t) a pixel; squares: 2 (s - t) / classes; over two pixels
    kl = 2 * (0.5 - 0.75)
    squares = -2 * math.log(3)
    first = 0.5 * (kl + squares) / 2
    expected = torch.zeros_like(student)
    expected[0, :, 0, 0] = torch.tensor([first, -0.5 * kl / 2])
    torch.testing.assert_close(student.grad, expected)


def test_kl_does_not_see_a_shift_of_all_classes_and_the_squares_do():
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(
        2, 2, 4, 3, 3, generator=generator, dtype=torch.float64
    )
    shift = torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64)
    pair = PKLLoss(k1=1)(student, teacher).item()
    assert PKLLoss(k1=1)(student + shift, teacher).item() == pytest.approx(pair)
    squares = PKLLoss(k1=0)
    shifted = squares(student + shift, teacher).item()
    assert shifted != pytest.approx(squares(student, teacher).item(), rel=1e-2)


def test_extreme_logits_by_hand():
    # the student is certain of the wrong class: KL = 2e4 / tau, squares = (2e4)^2
    student = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    teacher = -student.detach()
    value = PKLLoss(tau=2, k1=1)(student, teacher)
    assert value.item() == pytest.approx(4 * 1e4)
    value.backward()
    # tau (q_s - q_t) = 2 (1, -1)
    assert student.grad.flatten().tolist() == pytest.approx([2, -2])
    assert PKLLoss(k1=0)(student, teacher).item() == pytest.approx(4e8)


def test_one_channel_by_hand():
    # sigmoid: teacher 2 ln 3 / tau -> 3/4, student 0 -> 1/2, in one pixel of two
    student = torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    teacher = student.clone()
    teacher[0, 0, 0, 0] = 2 * math.log(3)
    assert PKLLoss(tau=2, k1=1)(student, teacher).item() == pytest.approx(4 * KL / 2)
    # the squared difference is that of the only channel
    assert PKLLoss(k1=0)(student, teacher).item() == pytest.approx(SQUARES)


@pytest.mark.parametrize('tau', [1, 2, 5])
def test_one_channel_is_two_of_which_one_has_the_logit_0(tau):
    student, teacher = 3 * torch.randn(2, 2, 1, 5, 4, dtype=torch.float64)
    loss = PKLLoss(tau=tau, k1=1)
    value = loss(student, teacher)
    both = [torch.cat([torch.zeros_like(x), x], 1) for x in (student, teacher)]
    torch.testing.assert_close(value, loss(*both))
    p, q = (teacher / tau).sigmoid(), (student / tau).sigmoid()
    kl = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(value, tau**2 * kl.mean())
    assert loss(student, student) == 0


def test_one_channel_has_the_gradient_of_a_sigmoid():
    student, teacher = torch.randn(2, 1, 1, 3, 3, dtype=torch.float64)
    student.requires_grad_()
    PKLLoss(tau=2, k1=1)(student, teacher).backward()
    expected = 2 * ((student / 2).sigmoid() - (teacher / 2).sigmoid()) / 9
    torch.testing.assert_close(student.grad, expected.detach())


def test_one_channel_of_extreme_logits():
    student = torch.tensor([1e4, -1e4]).view(1, 1, 1, 2).requires_grad_()
    value = PKLLoss(tau=2, k1=1)(student, -student.detach())
    assert value.item() == pytest.approx(4 * 5e3)
    value.backward()
    assert student.grad.flatten().tolist() == pytest.approx([1, -1])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'tau': 0}, 'tau must be above 0, got 0'),
        ({'tau': -1}, 'tau must be above 0, got -1'),
        ({'k1': -0.1}, r'k1 must be in \[0, 1\], got -0.1'),
        ({'k1': 1.5}, r'k1 must be in \[0, 1\], got 1.5'),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PKLLoss(**arguments)


def test_classes_are_named_in_the_message():
    with pytest.raises(ValueError, match='as many images and classes'):
        PKLLoss()(torch.rand(1, 4, 2, 2), torch.rand(1, 5, 2, 2))
