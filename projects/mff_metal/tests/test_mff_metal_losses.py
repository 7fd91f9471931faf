"""Losses of MFF-Metal: values of the official training code, and by hand."""

import doctest
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS

from fastsegformer_mm.distillation.losses import ResizeTeacherLoss
from mff_metal.losses import MFFBoundaryLoss, MFFDiceLoss, SummedCrossEntropyLoss
from mff_metal.transforms.distance_maps import signed_distance_maps

# What the official training code gives for the four label maps of NEU-Seg in
# neu_seg_labels.npz (000201, 000506, 000604, 004191 of its training set) and the
# logits below, in float64.
CROSS_ENTROPY = 99017.81856978872
DICE = [9573.319748938871, 8676.947029229275, 9516.516234129018]
BOUNDARY = [289980.3601276919, 265690.7533716896, 294167.9768909403]
KL = 106348.96814301005
TAU = 0.7


def logits(seed, dtype=torch.float64):
    values = np.random.default_rng(seed).normal(0, 1, (4, 4, 200, 200))
    return torch.from_numpy(values.astype(np.float32)).to(dtype) * 2


@pytest.fixture(scope='module')
def official():
    """Logits, labels and distance maps of the official values."""
    labels = np.load(Path(__file__).with_name('neu_seg_labels.npz'))['labels']
    maps = [signed_distance_maps(label, 4, truncate=True) for label in labels]
    return (
        logits(5),
        torch.from_numpy(labels).long(),
        dict(distance_map=torch.from_numpy(np.stack(maps))),
    )


@pytest.mark.parametrize(
    ('dtype', 'rel'), [(torch.float64, 1e-12), (torch.float32, 1e-6)]
)
def test_official_values(official, dtype, rel):
    x, label, maps = official
    x = x.to(dtype)
    value = SummedCrossEntropyLoss()(x, label)
    assert value.dtype == dtype
    assert value.item() == pytest.approx(CROSS_ENTROPY, rel=rel)
    for c in (1, 2, 3):
        value = MFFDiceLoss(classes=[c])(x, label)
        assert value.dtype == dtype
        assert value.item() == pytest.approx(DICE[c - 1], rel=rel)
        value = MFFBoundaryLoss(classes=[c])(x, label, **maps)
        assert value.dtype == dtype
        assert value.item() == pytest.approx(BOUNDARY[c - 1], rel=rel)


def test_official_sum_of_a_config(official):
    x, label, maps = official
    total = 0
    for cfg in [
        dict(type='SummedCrossEntropyLoss'),
        dict(type='MFFDiceLoss', loss_weight=0.5),
        dict(type='MFFBoundaryLoss', loss_weight=1e-4),
    ]:
        loss = MODELS.build(dict(cfg, _scope_='mmseg'))
        wants = getattr(loss, 'needs_distance_map', False)
        assert wants == (cfg['type'] == 'MFFBoundaryLoss')
        total += loss(x, label, **(maps if wants else {}))
    expected = CROSS_ENTROPY + 0.5 * sum(DICE) + 1e-4 * sum(BOUNDARY)
    assert total.item() == pytest.approx(expected, rel=1e-12)


def test_official_kl_is_mmrazors_divided_by_the_squared_temperature(official):
    cfg = dict(type='mmrazor.KLDivergence', tau=TAU, loss_weight=1 / TAU**2)
    teacher = logits(6)
    value = ResizeTeacherLoss(cfg)(official[0], teacher)
    assert value.item() == pytest.approx(KL, rel=1e-12)
    # the official code multiplies it by the batch size, which 'sum' does for any
    loss = ResizeTeacherLoss(dict(cfg, reduction='sum'))
    assert loss(official[0], teacher).item() == pytest.approx(4 * KL, rel=1e-12)
    less = loss(official[0][:3], teacher[:3])
    batch_mean = ResizeTeacherLoss(cfg)(official[0][:3], teacher[:3])
    assert less.item() == pytest.approx(3 * batch_mean.item(), rel=1e-12)


def test_cross_entropy_is_mmsegs_mean_times_the_pixels(official):
    x, label, _ = official
    mean = CrossEntropyLoss(loss_weight=200 * 200)(x, label)
    assert SummedCrossEntropyLoss()(x, label).item() == pytest.approx(mean.item())


def test_cross_entropy_by_hand():
    # ln 2 for each of 2 + 1 pixels that count, of two images; class 1 counts thrice
    x = torch.zeros(2, 2, 1, 2)
    label = torch.tensor([[[0, 1]], [[1, 255]]])
    assert SummedCrossEntropyLoss()(x, label).item() == pytest.approx(
        3 * math.log(2) / 2
    )
    loss = SummedCrossEntropyLoss(class_weight=[1, 3], loss_weight=0.1)
    assert loss(x, label).item() == pytest.approx(0.1 * 7 * math.log(2) / 2)
    weight = torch.tensor([[[0.5, 0]], [[1, 1]]])
    value = SummedCrossEntropyLoss()(x, label, weight)
    assert value.item() == pytest.approx(1.5 * math.log(2) / 2)
    other = SummedCrossEntropyLoss()(x, label.where(label != 255, 7), ignore_index=7)
    assert other.item() == pytest.approx(3 * math.log(2) / 2)


# Two images of one row of two pixels, two classes; all probabilities are one half
HALF = torch.zeros(2, 2, 1, 2)
LABEL = torch.tensor([[[0, 1]], [[1, 1]]])


def test_dice_by_hand():
    # class 1: overlap 3 / 2, total 4 / 2 + 3; 2 pixels an image, 2 images
    dice = (2 * 1.5 + 1) / (5 + 1)
    assert MFFDiceLoss()(HALF, LABEL).item() == pytest.approx((1 - dice) * 2 / 2)
    loss = MFFDiceLoss(smooth=0.5, loss_weight=3)
    assert loss(HALF, LABEL).item() == pytest.approx(3 * (1 - 3.5 / 5.5))
    # class 0: overlap 1 / 2, total 2 + 1
    loss = MFFDiceLoss(classes=(0, 1))
    assert loss(HALF, LABEL).item() == pytest.approx(2 - dice - 2 / 4)
    # the first image's second pixel does not count: overlap 1, total 3 / 2 + 2
    label = torch.tensor([[[0, 255]], [[1, 1]]])
    value = MFFDiceLoss()(HALF, label).item()
    assert value == pytest.approx(1 - 3 / 4.5)
    weight = torch.ones(2, 1, 2)
    weight[0, 0, 1] = 0
    assert MFFDiceLoss()(HALF, LABEL, weight).item() == pytest.approx(value)
    # or counts twice: overlap 2, total 5 / 2 + 4
    weight[0, 0, 1] = 2
    value = MFFDiceLoss()(HALF, LABEL, weight).item()
    assert value == pytest.approx(1 - 5 / 7.5)
    # no weight makes an ignored pixel count
    value = MFFDiceLoss()(HALF, label, weight).item()
    assert value == pytest.approx(1 - 3 / 4.5)


def test_boundary_by_hand():
    maps = torch.tensor([[[[9, 9]], [[1, 0]]], [[[9, 9]], [[-1, -6]]]])
    # half of 1 + 0 - 1 - 6, over two images
    value = MFFBoundaryLoss()(HALF, LABEL, distance_map=maps).item()
    assert value == pytest.approx(-1.5)
    loss = MFFBoundaryLoss(classes=[0], loss_weight=0.5)
    assert loss(HALF, LABEL, distance_map=maps).item() == pytest.approx(0.5 * 9)
    label = torch.tensor([[[0, 1]], [[1, 255]]])
    value = MFFBoundaryLoss()(HALF, label, distance_map=maps.short()).item()
    assert value == pytest.approx(0)
    weight = torch.tensor([[[4, 1]], [[1, 0.5]]])
    value = MFFBoundaryLoss()(HALF, LABEL, weight, distance_map=maps).item()
    assert value == pytest.approx((4 - 1 - 3) / 2 / 2)
    value = MFFBoundaryLoss()(HALF, label, weight, distance_map=maps).item()
    assert value == pytest.approx((4 - 1) / 2 / 2)


def random_case(classes=3, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, classes, 3, 4, generator=generator, dtype=dtype)
    label = torch.randint(0, classes, (2, 3, 4), generator=generator)
    label[0, 0, :2] = 255
    maps = torch.randn(2, classes, 3, 4, generator=generator).to(dtype) * 5
    return x, label, maps


@pytest.mark.parametrize('kind', [MFFDiceLoss, MFFBoundaryLoss, SummedCrossEntropyLoss])
def test_gradients(kind):
    x, label, maps = random_case()
    maps = dict(distance_map=maps) if kind is MFFBoundaryLoss else {}
    loss = kind(loss_weight=0.3)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, label, **maps), x)
    loss(x, label, **maps).backward()
    # ignored pixels get none, the others do
    assert x.grad[0, :, 0, :2].abs().max() == 0
    assert (x.grad.abs().sum(1)[label != 255] > 0).all()


@pytest.mark.parametrize('kind', [MFFDiceLoss, MFFBoundaryLoss, SummedCrossEntropyLoss])
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_summed_in_float32(kind, dtype):
    x = torch.full((2, 3, 200, 200), 1.0, dtype=dtype)
    x[:, 1] = 2.5
    label = torch.zeros(2, 200, 200, dtype=torch.long)
    maps = torch.full(x.shape, 4, dtype=torch.int16)
    maps = dict(distance_map=maps) if kind is MFFBoundaryLoss else {}
    with torch.autocast('cpu', torch.bfloat16):
        value = kind()(x, label, **maps)
    assert value.dtype == torch.float32
    expected = kind()(x.double(), label, **maps).item()
    assert expected > 65504 or kind is MFFDiceLoss  # float16's greatest number
    assert value.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('fill', [0, 2, 255])
@pytest.mark.parametrize('level', [0.0, 1e4])
def test_constant_maps_and_labels_of_one_value(fill, level):
    x = torch.full((2, 4, 8, 8), level, requires_grad=True)
    label = torch.full((2, 8, 8), fill)
    maps = np.stack([signed_distance_maps(y.numpy(), 4) for y in label])
    maps = dict(distance_map=torch.from_numpy(maps))
    values = [
        SummedCrossEntropyLoss()(x, label),
        MFFDiceLoss()(x, label),
        MFFBoundaryLoss()(x, label, **maps),
    ]
    sum(values).backward()
    assert x.grad.isfinite().all()
    # no class has a boundary here
    assert values[2].item() == 0
    if fill == 255:
        assert [v.item() for v in values] == [0, 0, 0]
        assert x.grad.abs().max() == 0
    else:
        # 128 pixels, of which each class is given a quarter
        dice = 3 - 1 / 33 - 1 / 33 - ((2 * 32 + 1) / (32 + 128 + 1) if fill else 1 / 33)
        assert values[0].item() == pytest.approx(64 * math.log(4))
        assert values[1].item() == pytest.approx(dice * 64 / 2, rel=1e-5)


def test_a_class_that_nobody_labels_or_predicts_costs_nothing():
    x = torch.zeros(1, 3, 4, 4)
    x[:, 0] = 200
    label = torch.zeros(1, 4, 4, dtype=torch.long)
    assert MFFDiceLoss()(x, label).item() == 0


@pytest.mark.parametrize('kind', [MFFDiceLoss, MFFBoundaryLoss])
def test_classes_of_any_number(kind):
    x, label, maps = random_case(classes=7)
    maps = dict(distance_map=maps) if kind is MFFBoundaryLoss else {}
    alone = [kind(classes=[c])(x, label, **maps).item() for c in range(7)]
    assert len({round(v, 6) for v in alone}) == 7
    value = kind()(x, label, **maps).item()
    assert value == pytest.approx(sum(alone[1:]))
    value = kind(classes=[6, 0])(x, label, **maps).item()
    assert value == pytest.approx(alone[0] + alone[6])


@pytest.mark.parametrize('kind', [MFFDiceLoss, MFFBoundaryLoss])
def test_errors_of_both(kind):
    for classes in ([], [1, 1], [-1], [0.5]):
        with pytest.raises(ValueError, match='classes='):
            kind(classes=classes)
    x, label, maps = random_case()
    maps = dict(distance_map=maps) if kind is MFFBoundaryLoss else {}
    with pytest.raises(ValueError, match=r'classes=\[3\].* 3 classes'):
        kind(classes=[3])(x, label, **maps)
    with pytest.raises(ValueError, match='expected'):
        kind()(x, label[:, :2], **maps)
    one = {k: v[:, :1] for k, v in maps.items()}
    with pytest.raises(ValueError, match='num_classes=2'):
        kind()(x[:, :1], label, **one)


def test_errors():
    with pytest.raises(ValueError, match='smooth=0'):
        MFFDiceLoss(smooth=0)
    x, label, maps = random_case()
    with pytest.raises(TypeError, match='BoundarySupervision'):
        MFFBoundaryLoss()(x, label)
    with pytest.raises(ValueError, match='num_classes of SignedDistanceMap'):
        MFFBoundaryLoss()(x, label, distance_map=maps[:, :2])


def test_names_in_the_log():
    kinds = (SummedCrossEntropyLoss, MFFDiceLoss, MFFBoundaryLoss)
    names = [kind().loss_name for kind in kinds]
    assert names == ['loss_ce', 'loss_dice', 'loss_boundary']
    assert [kind(loss_name='x').loss_name for kind in kinds] == ['x'] * 3
    for kind in kinds:
        assert 'loss_weight=0.5' in repr(kind(loss_weight=0.5))


@pytest.mark.parametrize(
    'module',
    [
        'boundary_supervision',
        'losses.mff_boundary_loss',
        'losses.mff_dice_loss',
        'losses.summed_cross_entropy_loss',
        'transforms.pack_distance_map',
        'transforms.signed_distance_map',
    ],
)
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f'mff_metal.{module}'))
    assert result.attempted >= 4
    assert result.failed == 0
