"""StandardizedKLLoss by hand, each part alone."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from fastsegformer_mm.compat import import_mmrazor
from fastsegformer_mm.distillation.losses import PKLLoss, StandardizedKLLoss
from fastsegformer_mm.distillation.losses.alignment import labels_to_size

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up

# every part off: the mean over the pixels of tau^2 KL
PLAIN = dict(
    standardize=False, balance_classes=0, weigh_labelled=False, weigh_unlabelled=False)
# q_t = (3/4, 1/4) against q_s = (1/2, 1/2), where tau is 1
LN3 = math.log(3)
KL = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)


def plain(**changes):
    return StandardizedKLLoss(**{**PLAIN, 'tau': 1, **changes})


def row(*pixels, dtype=torch.float64):
    """Logits of pixels beside each other, (1, C, 1, W)."""
    return torch.tensor(pixels, dtype=dtype).T[None, :, None]


def maps(*shapes, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(s, generator=generator, dtype=dtype) for s in shapes]


# four pixels: the first three agree, the last differs by KL
STUDENT = row((1, 0), (1, 0), (1, 0), (0, 0))
TEACHER = row((1, 0), (1, 0), (1, 0), (0, LN3))


def test_plain_is_the_mean_over_the_pixels():
    assert plain()(STUDENT, TEACHER).item() == pytest.approx(KL / 4)
    student, teacher = maps((2, 4, 5, 3), (2, 4, 5, 3))
    for tau in (1, 3):
        expected = PKLLoss(tau=tau, k1=1)(student, teacher).item()
        assert plain(tau=tau)(student, teacher).item() == pytest.approx(expected)


@pytest.mark.parametrize('scale', [0.1, 1, 40])
def test_standardize_by_hand(scale):
    # z of (d, 0, 0) is (sqrt 2, -1/sqrt 2, -1/sqrt 2) for any d: with this tau the
    # exponentials are 2 : 1 : 1, and the student's of equal logits 1 : 1 : 1
    tau = 3 / (math.sqrt(2) * math.log(2))
    loss = plain(tau=tau, standardize=True, eps=1e-12)
    value = loss(row((5, 5, 5)), row((scale, 0, 0))).item()
    kl = 0.5 * math.log(0.5 * 3) + 0.5 * math.log(0.25 * 3)
    assert value == pytest.approx(tau**2 * kl, rel=1e-6)


def test_standardized_logits_have_neither_magnitude_nor_shift():
    student, teacher = maps((2, 4, 5, 3), (2, 4, 5, 3))
    loss, raw = plain(standardize=True, eps=1e-12), plain()
    value = loss(student, teacher).item()
    assert loss(student, 7 * teacher + 3).item() == pytest.approx(value)
    assert loss(student, 7 * student + 3).item() == pytest.approx(0, abs=1e-12)
    assert raw(student, 7 * student + 3).item() > 0.1


def test_eps_keeps_nearly_constant_logits_small():
    student, teacher = row((1e-4, 0, 0)), row((1, 0, 0))
    gradients = {}
    for eps in (1e-6, 1e-2):
        s = student.clone().requires_grad_()
        plain(standardize=True, eps=eps)(s, teacher).backward()
        gradients[eps] = s.grad.abs().max().item()
    # the divisor is nearly sqrt(eps)
    assert gradients[1e-6] == pytest.approx(100 * gradients[1e-2], rel=0.1)
    assert gradients[1e-6] < 1e-6**-0.5


def test_tau_squared():
    # both divided by tau: with logits tau times as large only the square is left
    for tau in (1, 2, 5):
        value = plain(tau=tau)(tau * STUDENT, tau * TEACHER).item()
        assert value == pytest.approx(tau**2 * KL / 4)


LABELS = torch.tensor([[[0, 0, 0, 1]]])


@pytest.mark.parametrize(('balance', 'expected'), [
    (0, KL / 4),
    # the mean of class 0 is 0, that of class 1 KL
    (1, KL / 2),
    (0.5, KL / (3 * 3**-0.5 + 1))])
@pytest.mark.parametrize('labels', [
    LABELS, None, torch.full_like(LABELS, 255), torch.tensor([[[0, 255, 0, 255]]])])
def test_classes_are_balanced_by_label_or_by_the_teachers_class(
        balance, expected, labels):
    value = plain(balance_classes=balance)(STUDENT, TEACHER, labels).item()
    assert value == pytest.approx(expected)


def test_label_goes_before_the_teachers_class():
    # three pixels of class 1, of which the last differs
    labels = torch.tensor([[[0, 1, 1, 1]]])
    value = plain(balance_classes=1)(STUDENT, TEACHER, labels).item()
    assert value == pytest.approx(KL / 3 / 2)


def test_ninety_seven_percent_of_background_are_one_class_of_two():
    student = torch.zeros(1, 2, 10, 10, dtype=torch.float64)
    teacher = student.clone()
    teacher[:, 0] = LN3  # KL everywhere
    teacher[:, :, 0, :3] = 0  # but in the defect
    labels = torch.zeros(1, 10, 10, dtype=torch.long)
    labels[:, 0, :3] = 1
    assert plain()(student, teacher, labels).item() == pytest.approx(0.97 * KL)
    balanced = plain(balance_classes=1)(student, teacher, labels).item()
    assert balanced == pytest.approx(0.5 * KL)


@pytest.mark.parametrize(('label', 'labelled', 'unlabelled', 'weight'), [
    (1, False, False, 1), (1, True, False, 0.75), (0, True, False, 0.25),
    (1, False, True, 1), (0, True, True, 0.25),
    # without a label
    (255, True, False, 1), (255, True, True, 0.75), (255, False, True, 0.75),
    (None, True, True, 0.75), (None, True, False, 1)])
@pytest.mark.parametrize('balance', [0, 1])
def test_weights_of_pixels(label, labelled, unlabelled, weight, balance):
    """The teacher's probabilities are 1/4 and 3/4, and no part of the normaliser."""
    labels = None if label is None else torch.full((1, 1, 1), label)
    loss = plain(
        weigh_labelled=labelled, weigh_unlabelled=unlabelled, balance_classes=balance)
    value = loss(row((0, 0)), row((0, LN3)), labels).item()
    assert value == pytest.approx(weight * KL)


def test_weights_are_those_of_the_logits_as_they_are():
    """Neither the temperature nor the standardisation is in them."""
    student, teacher = row((0, 0, 1)), row((0, LN3, 0))
    labels = torch.ones(1, 1, 1, dtype=torch.long)
    for options in (dict(tau=4), dict(standardize=True)):
        weighted = plain(weigh_labelled=True, **options)(student, teacher, labels)
        without = plain(**options)(student, teacher, labels)
        assert weighted.item() == pytest.approx(0.6 * without.item())


def test_ignore_index():
    labels = torch.full((1, 1, 1), 7)
    loss = plain(weigh_labelled=True, ignore_index=7)
    assert loss(row((0, 0)), row((0, LN3)), labels).item() == pytest.approx(KL)


def test_labels_are_the_nearest_of_the_grid_with_aligned_corners():
    labels = torch.arange(5)[None, None].expand(1, 5, 5) * 10
    labels = labels + torch.arange(5)[None, :, None]
    taken = labels_to_size(labels, torch.zeros(1, 2, 3, 3))
    assert taken.tolist() == [[[0, 20, 40], [2, 22, 42], [4, 24, 44]]]
    assert torch.equal(labels_to_size(labels, torch.zeros(1, 2, 5, 5)), labels)
    larger = labels_to_size(labels[:, :1, :2], torch.zeros(1, 2, 1, 5))
    assert larger.tolist() == [[[0, 0, 0, 10, 10]]]
    with_channel = labels_to_size(labels[:, None], torch.zeros(1, 2, 3, 3))
    assert torch.equal(with_channel, taken)


def test_labels_of_another_size_in_the_loss():
    student, teacher = maps((2, 3, 3, 3), (2, 3, 7, 7))
    labels = torch.randint(3, (2, 5, 5), generator=torch.Generator().manual_seed(0))
    loss = StandardizedKLLoss()
    expected = loss(student, teacher, labels[:, ::2, ::2]).item()
    assert loss(student, teacher, labels).item() == pytest.approx(expected)
    assert loss(student, teacher).item() != pytest.approx(expected)


@pytest.mark.parametrize('shape', [(1, 5, 5), (2, 3, 5, 5), (2, 5)])
def test_labels_of_other_images_are_refused(shape):
    with pytest.raises(ValueError, match='do not go with logits') as error:
        StandardizedKLLoss()(*maps((2, 3, 3, 3), (2, 3, 3, 3)), torch.zeros(shape))
    assert str(shape) in str(error.value)
    assert 'expected (2, height, width)' in str(error.value)


def bernoulli(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_one_channel_by_hand():
    student, teacher = row((0,), (0,)), row((0,), (LN3,))
    assert plain()(student, teacher).item() == pytest.approx(KL / 2)
    labels = torch.tensor([[[0, 1]]])
    value = plain(weigh_labelled=True)(student, teacher, labels).item()
    assert value == pytest.approx(0.75 * KL / 2)
    value = plain(balance_classes=1)(
        row((0,), (0,), (0,)), row((-1,), (-1,), (LN3,))).item()
    first = bernoulli(sigmoid(-1), 0.5)
    assert value == pytest.approx((first + KL) / 2)


def test_one_channel_is_standardized_over_the_image():
    # a margin s becomes 2 s / (root mean square of s): (1, 1) -> 2, 2;
    # (7, 1), root mean square 5 -> 2.8, 0.4
    value = plain(tau=2, standardize=True, eps=1e-12)(
        row((1,), (1,)), row((7,), (1,))).item()
    expected = bernoulli(sigmoid(1.4), sigmoid(1)) + bernoulli(sigmoid(0.2), sigmoid(1))
    assert value == pytest.approx(4 * expected / 2)


@pytest.mark.parametrize('options', [
    {}, dict(weigh_unlabelled=True, tau=1), dict(standardize=False),
    dict(balance_classes=0)])
def test_one_channel_is_two_of_which_one_has_the_logit_0(options):
    student, teacher = maps((2, 1, 4, 3), (2, 1, 4, 3))
    labels = torch.randint(2, (2, 4, 3), generator=torch.Generator().manual_seed(0))
    labels[0, 0] = 255
    loss = StandardizedKLLoss(**options)
    both = [torch.cat([torch.zeros_like(x), x], 1) for x in (student, teacher)]
    expected = loss(*both, labels)
    torch.testing.assert_close(loss(student, teacher, labels), expected)
    # a shift of both logits changes nothing
    torch.testing.assert_close(loss(both[0] + 3, both[1] - 2, labels), expected)


def test_of_two_classes_confidence_is_still_learned():
    """The z-score of a single pixel would be the same for all of these."""
    student = row((0, 1), (0, 1)).requires_grad_()
    loss = plain(standardize=True)
    loss(student, row((0, 9), (0, 1))).backward()
    assert student.grad[0, 1, 0, 0] < -0.1 < 0.1 < student.grad[0, 1, 0, 1]


def test_registry_and_repr():
    registry = import_mmrazor().registry.MODELS
    loss = registry.build(dict(type='mmrazor.StandardizedKLLoss', tau=3))
    assert type(loss) is StandardizedKLLoss
    assert 'tau=3, standardize=True, balance_classes=1.0' in repr(loss)
    defaults = dict(
        tau=2.0, standardize=True, balance_classes=1.0, weigh_labelled=True,
        weigh_unlabelled=False, ignore_index=255, eps=1e-6, loss_weight=1.0)
    fresh = vars(StandardizedKLLoss())
    assert {k: fresh[k] for k in defaults} == defaults


def test_is_zero_where_both_are_equal_and_weight_is_a_factor():
    student, teacher = maps((2, 3, 5, 4), (2, 3, 5, 4))
    assert StandardizedKLLoss()(student, student.clone()).item() == 0
    once = StandardizedKLLoss()(student, teacher).item()
    assert once > 0.1
    twice = StandardizedKLLoss(loss_weight=2.5)(student, teacher).item()
    assert twice == pytest.approx(2.5 * once)


@pytest.mark.parametrize('channels', [1, 2, 3])
@pytest.mark.parametrize('standardize', [True, False])
def test_gradient_is_that_of_finite_differences(channels, standardize):
    student, teacher = maps((2, channels, 3, 4), (2, channels, 5, 4))
    labels = torch.randint(2, (2, 6, 6), generator=torch.Generator().manual_seed(0))
    labels[0, :3] = 255
    student.requires_grad_()
    loss = StandardizedKLLoss(standardize=standardize, weigh_unlabelled=True)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, labels), student)
    teacher.requires_grad_()
    loss(student, teacher, labels).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


def test_teacher_is_resized_bilinearly_with_aligned_corners():
    student, teacher = maps((2, 3, 5, 4), (2, 3, 9, 11))
    resized = F.interpolate(teacher, (5, 4), mode='bilinear', align_corners=True)
    loss = StandardizedKLLoss()
    assert loss(student, teacher).item() == loss(student, resized).item()


@pytest.mark.parametrize('channels', [1, 2, 4])
@pytest.mark.parametrize('standardize', [True, False])
def test_is_finite_on_constant_and_extreme_logits(channels, standardize):
    shape = (2, channels, 3, 3)
    noise, = maps(shape, dtype=torch.float32)
    extremes = [
        torch.zeros(shape), torch.full(shape, 1e4), *(s * noise for s in (1e4, 1e-20)),
        1e4 * noise.sign(), 1e20 * noise if standardize else -1e4 * noise]
    loss = StandardizedKLLoss(standardize=standardize)
    for values in extremes:
        for teacher in extremes:
            student = values.clone().requires_grad_()
            value = loss(student, teacher)
            value.backward()
            assert value.isfinite()
            assert student.grad.isfinite().all()


@pytest.mark.parametrize('dtype', [
    pytest.param(torch.float16, marks=pytest.mark.cpu_float16), torch.bfloat16])
def test_is_float32_inside_autocast(dtype):
    student, teacher = (30 * x.to(dtype) for x in maps((2, 4, 6, 6), (2, 4, 9, 9)))
    loss = StandardizedKLLoss()
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(tau=0), 'tau must be above 0, got 0'),
    (dict(eps=0), 'eps must be above 0, got 0'),
    (dict(balance_classes=1.5), r'balance_classes must be in \[0, 1\], got 1.5')])
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        StandardizedKLLoss(**arguments)


def test_other_classes_are_refused():
    with pytest.raises(ValueError, match='as many images and classes'):
        StandardizedKLLoss()(torch.rand(1, 4, 2, 2), torch.rand(1, 5, 2, 2))


@pytest.mark.parametrize('student_size', [32, None])
def test_labels_by_mmrazors_recorders(student_size):
    logits = dict(type='ModuleOutputs', source='decode_head.conv_seg')
    labels = dict(type='ModuleInputs', source='decode_head.loss_decode')
    mapping = tiny.pair('logits')
    mapping['labels'] = dict(recorder='labels', from_student=True, data_idx=1)
    model = tiny.build(
        student_size=student_size,
        distiller=dict(
            type='ConfigurableDistiller',
            student_recorders=dict(logits=logits, labels=labels),
            teacher_recorders=dict(logits=logits),
            distill_losses=dict(loss_skl=dict(type='StandardizedKLLoss')),
            loss_forward_mappings=dict(loss_skl=mapping)))
    data = tiny.prepared(model)
    for sample in data['data_samples']:
        sample.gt_sem_seg.data[:, :20] = 255
    student = []
    model.student.decode_head.conv_seg.register_forward_hook(
        lambda *args: student.append(args[-1].detach()))
    found = model(**data, mode='loss')
    with torch.no_grad():
        teacher = model.teacher(data['inputs'])
    truth = torch.cat([s.gt_sem_seg.data for s in data['data_samples']])
    loss = StandardizedKLLoss()
    expected = loss(student[0], teacher, truth).item()
    assert found['distill.loss_skl'].item() == pytest.approx(expected)
    assert loss(student[0], teacher).item() != pytest.approx(expected)
