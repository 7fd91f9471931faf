"""The losses of SEKD: golden values, values by hand, and what all of them keep to.

The golden values are what the official arithmetic gives for four stages, averaged;
that of the texture in float32.
"""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from scipy.ndimage import correlate1d
from torch.nn import functional as F

from fastsegformer_mm.compat import import_mmrazor
from sekd.losses import (
    ContextAlignmentLoss,
    MaskedReconstructionLoss,
    ScaledAlignmentLoss,
    TextureLoss,
)

MODELS = import_mmrazor().registry.MODELS
PROJECT = Path(__file__).resolve().parents[1]
recipe = PROJECT.parents[1] / 'tests/golden/recipe.py'
image = runpy.run_path(str(recipe))['image']
BASES = PROJECT / 'configs/_base_/distill'
STAGES = [(64, 32), (128, 16), (320, 8), (512, 8)]  # channels, side
CONTEXT, TEXTURE, ALIGNMENT = 1.9999591222775424, 3.459777355194092, 0.4946397821483247
LOSSES = {
    'context': ContextAlignmentLoss,
    'reconstruction': MaskedReconstructionLoss,
    'alignment': ScaledAlignmentLoss,
    'texture': TextureLoss,
}
each_loss = pytest.mark.parametrize('kind', LOSSES)


def golden(seed, kind, dtype=torch.float64):
    shapes = [(2, c, s, s) if kind == 'maps' else (2, s * s, c) for c, s in STAGES]
    return [torch.from_numpy(image(shape, seed + i)).to(dtype)
            for i, shape in enumerate(shapes)]


def normal(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=dtype)


class Pair:
    """Maps for any of the losses, as tokens with their size for TextureLoss."""

    def __init__(self, kind, **kwargs):
        self.loss = LOSSES[kind](**kwargs)
        self.kind = kind

    def arrange(self, feature):
        return feature.flatten(2).mT if self.kind == 'texture' else feature

    def __call__(self, student, teacher, seed=0):
        torch.manual_seed(seed)
        sizes = {}
        if self.kind == 'texture':
            sizes = dict(size_S=student.shape[2:], size_T=teacher.shape[2:])
        return self.loss(
            preds_S=self.arrange(student), preds_T=self.arrange(teacher), **sizes)


def test_golden_context_alignment():
    value = sum(ContextAlignmentLoss(loss_weight=0.25)(*pair)
                for pair in zip(golden(10, 'maps'), golden(20, 'maps')))
    assert value.item() == pytest.approx(CONTEXT, rel=1e-12)


def test_golden_scaled_alignment():
    value = sum(ScaledAlignmentLoss(loss_weight=0.25)(*pair)
                for pair in zip(golden(10, 'maps'), golden(20, 'maps')))
    assert value.item() == pytest.approx(ALIGNMENT, rel=1e-12)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_golden_texture(dtype):
    pairs = zip(golden(30, 'tokens', dtype), golden(40, 'tokens', dtype))
    value = sum(TextureLoss(loss_weight=0.25)(*pair) for pair in pairs)
    assert value.item() == pytest.approx(TEXTURE, rel=1e-6 if
                                         dtype == torch.float32 else 1e-7)


@pytest.mark.parametrize(('name', 'expected'), [
    ('sekd', 0.2 * ALIGNMENT), ('sekd_ct', 0.5 * CONTEXT), ('sekd_su', None)])
def test_losses_of_the_configs_give_the_golden_values(name, expected):
    """With the paper's weights, summed as a training sums them."""
    losses = {k: MODELS.build({'_scope_': 'mmrazor', **v}) for k, v in
              Config.fromfile(BASES / f'{name}.py').distiller.distill_losses.items()}
    assert len(losses) == 8
    maps = list(zip(golden(10, 'maps'), golden(20, 'maps')))
    tokens = list(zip(golden(30, 'tokens'), golden(40, 'tokens')))
    textures = [losses[f'loss_texture{i + 1}'](*tokens[i]) for i in range(4)]
    assert sum(textures).item() == pytest.approx(TEXTURE, rel=1e-7)
    features = [losses[f'loss_feature{i + 1}'] for i in range(4)]
    torch.manual_seed(0)
    value = sum(loss(*pair) for loss, pair in zip(features, maps)).item()
    if expected is None:  # 0.5 of the mean over the stages, each of its own window
        torch.manual_seed(0)
        expected = sum(MaskedReconstructionLoss()(*pair) for pair in maps).item() / 8
    assert value == pytest.approx(expected, rel=1e-12)


def test_context_alignment_by_hand():
    student = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    teacher = torch.ones(1, 2, 1, 2)
    # maps: two of four entries differ by 1; Gram matrices: I, and 1/sqrt(2) all over
    value = ContextAlignmentLoss()(student, teacher).item()
    assert value == pytest.approx(0.5 + 1 - 0.5**0.5, rel=1e-6)
    context = ContextAlignmentLoss().context(normal(2, 3, 4, 5))
    assert torch.allclose(context.norm(dim=1), torch.ones(2, 3, dtype=torch.float64))
    # a smaller norm than eps is not raised to 1
    small = ContextAlignmentLoss(eps=1.0).context(0.1 * torch.ones(1, 2, 1, 1))
    assert torch.allclose(small, torch.full((1, 2, 2), 0.01))


def test_scaled_alignment_by_hand():
    student, teacher = torch.zeros(1, 1, 4, 8), torch.zeros(1, 1, 4, 8)
    teacher[0, 0, :, :4] = torch.arange(16.0).view(4, 4)
    # of the left block the middle (5, 6, 9, 10), of the right one nothing
    assert ScaledAlignmentLoss()(student, teacher).item() == 7.5**2 / 2
    teacher[0, 0, 0] = 100  # unseen
    assert ScaledAlignmentLoss()(student, teacher).item() == 7.5**2 / 2
    assert ScaledAlignmentLoss(scale=1)(student, student + 3).item() == 9
    # a side of less than four pixels becomes their middle
    assert ScaledAlignmentLoss()(
        torch.zeros(1, 1, 3, 1), torch.tensor([5.0, 2.0, 5.0]).view(1, 1, 3, 1)) == 4


def reference_texture(student, teacher, levels=2, eps=1e-6):
    """The formula in NumPy, pixel by pixel, for (N, C, H, W)."""
    weights = np.exp(-np.arange(-2, 3)**2 / 2)
    weights /= weights.sum()

    def pyramid(feature):
        found = []
        for _ in range(levels):
            blurred = feature
            for axis in (2, 3):
                blurred = correlate1d(blurred, weights, axis, mode='constant')
            found.append(feature - blurred)
            feature = sum(blurred[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)) / 4
        return [*found, feature]

    def patches(feature):
        padded = np.pad(feature, ((0, 0), (0, 0), (2, 2), (2, 2)))
        found = []
        for y in range(0, padded.shape[2] - 3, 2):
            for x in range(0, padded.shape[3] - 3, 2):
                patch = padded[:, :, y:y + 4, x:x + 4].reshape(*feature.shape[:2], 16)
                patch = patch - patch.mean(2, keepdims=True)
                found.append(patch / (patch.std(2, ddof=1, keepdims=True) + eps))
        return np.stack(found)

    total = ((patches(student) - patches(teacher))**2).mean()
    return total + sum(
        ((a - b)**2).mean() for a, b in zip(pyramid(student), pyramid(teacher)))


@pytest.mark.parametrize('options', [{}, dict(levels=1), dict(levels=0, eps=0.1)])
def test_texture_is_the_formula(options):
    student, teacher = normal(2, 3, 8, 12), 2 * normal(2, 3, 8, 12, seed=1) + 1
    value = Pair('texture', **options)(student, teacher).item()
    expected = reference_texture(student.numpy(), teacher.numpy(), **options)
    assert value == pytest.approx(expected, rel=1e-12)


def test_texture_takes_odd_and_single_pixels():
    # 1x3 is blurred with the zeros around it, then pooled to 1x1, which stays
    student, teacher = torch.zeros(1, 1, 1, 3), torch.ones(1, 1, 1, 3)
    w = np.exp(-np.arange(-2, 3)**2 / 2)
    w /= w.sum()
    blurred = w[2] * np.array([w[2:].sum(), w[1:4].sum(), w[:3].sum()])
    rest = blurred[:2].mean()
    expected = ((1 - blurred)**2).mean() + (rest - w[2]**2 * rest)**2 + (
        w[2]**2 * rest)**2
    loss = TextureLoss()
    value = loss.structure(student - teacher).item()
    assert value == pytest.approx(expected, rel=1e-6)
    assert Pair('texture')(student, teacher).isfinite()


def test_texture_compares_the_tokens_as_the_map_they_are():
    student, teacher = normal(1, 2, 4, 6), normal(1, 2, 4, 6, seed=1)
    whole = Pair('texture')(student, teacher).item()
    turned = Pair('texture')(student.mT, teacher.mT).item()
    assert turned == pytest.approx(whole, rel=1e-12)
    as_6x4 = TextureLoss()(
        *(f.flatten(2).mT for f in (student, teacher)), size_S=(6, 4), size_T=(6, 4))
    assert abs(as_6x4.item() - whole) > 1e-3


@pytest.mark.parametrize(('tokens', 'sizes', 'match'), [
    ((2, 24, 3), {}, '24 tokens are no map of 4x4.*size_S and size_T'),
    ((2, 24, 3), dict(size_S=(4, 5)), '24 tokens are no map of 4x5'),
    ((2, 3, 4, 6), {}, r"tokens of shape \(N, HW, C\), and got \(2, 3, 4, 6\).*"
                       "source='backbone.layers.0.0'")])
def test_texture_refuses_what_are_no_tokens_of_a_map(tokens, sizes, match):
    with pytest.raises(ValueError, match=match):
        TextureLoss()(torch.rand(tokens), torch.rand(tokens), **sizes)


@each_loss
def test_is_in_mmrazors_registry_and_has_no_weights(kind):
    loss = MODELS.build(dict(
        type=f'mmrazor.{LOSSES[kind].__name__}', loss_weight=0.125))
    assert type(loss) is LOSSES[kind]
    assert loss.state_dict() == {}
    assert 'loss_weight=0.125' in repr(loss)


@each_loss
def test_weight_is_a_factor_and_equal_maps_give_zero(kind):
    student, teacher = normal(2, 3, 8, 10), normal(2, 3, 8, 10, seed=1)
    once = Pair(kind)(student, teacher).item()
    assert once > 0.1
    assert Pair(kind, loss_weight=2.5)(student, teacher).item() == pytest.approx(
        2.5 * once)
    options = dict(mask_ratio=0) if kind == 'reconstruction' else {}
    assert Pair(kind, **options)(student, student.clone()).item() == 0


@each_loss
@pytest.mark.parametrize('teacher_size', [(5, 6), (9, 4)])
def test_gradient_is_that_of_finite_differences(kind, teacher_size):
    student, teacher = normal(2, 2, 5, 6), normal(2, 2, *teacher_size, seed=1)
    student.requires_grad_()
    teacher.requires_grad_()
    pair = Pair(kind, loss_weight=3)
    assert torch.autograd.gradcheck(lambda s: pair(s, teacher.detach()), student)
    pair(student, teacher).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@each_loss
def test_teacher_is_resized_bilinearly_with_aligned_corners(kind):
    student, teacher = normal(2, 3, 6, 8), normal(2, 3, 12, 10, seed=1)
    resized = F.interpolate(teacher, (6, 8), mode='bilinear', align_corners=True)
    pair = Pair(kind)
    assert pair(student, teacher).item() == pytest.approx(
        pair(student, resized).item(), rel=1e-12)


@each_loss
@pytest.mark.parametrize('shape', [(1, 4, 8, 8), (2, 5, 8, 8)])
def test_other_numbers_of_images_or_channels_are_refused(kind, shape):
    with pytest.raises(ValueError, match='cannot be compared'):
        Pair(kind)(torch.rand(2, 4, 8, 8), torch.rand(shape))


@each_loss
@pytest.mark.parametrize('shape', [(2, 3, 8, 8), (1, 1, 1, 1), (2, 3, 2, 5)])
def test_is_finite_on_constant_maps(kind, shape):
    for student_value, teacher_value in ((0, 0), (0, 5), (1e4, 0), (-3, 7.1)):
        student = torch.full(shape, float(student_value), requires_grad=True)
        value = Pair(kind)(student, torch.full(shape, float(teacher_value)))
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


@each_loss
@pytest.mark.parametrize(
    'dtype',
    [pytest.param(torch.float16, marks=pytest.mark.cpu_float16), torch.bfloat16],
)
def test_is_float32_inside_autocast(kind, dtype):
    student, teacher = (normal(2, 4, 16, 16, seed=i, dtype=torch.float32)
                        .mul(100).to(dtype) for i in (0, 1))
    pair = Pair(kind)
    expected = pair(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype):
        value = pair(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()
    assert pair(student.double(), teacher).dtype == torch.float64


@pytest.mark.parametrize(('kind', 'options', 'match'), [
    ('context', dict(eps=0), 'eps must be above 0, got 0'),
    ('texture', dict(eps=0), 'eps must be above 0, got 0'),
    ('texture', dict(levels=-1), 'levels must be 0 or more, got -1'),
    ('alignment', dict(scale=0), r'scale must be in \(0, 1\], got 0'),
    ('alignment', dict(scale=4), r'scale must be in \(0, 1\], got 4'),
    ('reconstruction', dict(mask_ratio=-0.1), r'mask_ratio must be in \[0, 1\]'),
    ('reconstruction', dict(mask_ratio=30), r'mask_ratio must be in .*, got 30')])
def test_options_out_of_range_are_refused(kind, options, match):
    with pytest.raises(ValueError, match=match):
        LOSSES[kind](**options)
