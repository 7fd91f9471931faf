"""PairWiseLoss against the full matrices in float64, and what it holds in memory."""

import doctest
import importlib

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from fastsegformer_mm.compat import import_mmrazor

MODELS = import_mmrazor().registry.MODELS
losses = importlib.import_module('pixel_pair_kd.losses')
similarity = importlib.import_module('pixel_pair_kd.losses.similarity')
PairWiseLoss = losses.PairWiseLoss
WAYS = [dict(way='rows', rows=7), dict(way='rows'), dict(way='gram'), dict()]
every_way = pytest.mark.parametrize('way', WAYS, ids=repr)


def maps(student=(2, 5, 6, 8), teacher=(2, 9, 6, 8), dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(s, generator=generator, dtype=torch.float64).to(dtype)
        for s in (student, teacher)
    )
    return first.requires_grad_(), second


def naive(student, teacher, detach_norm=False, eps=1e-6):
    """As the formula is written, matrices and all; maps of one size."""
    matrices = []
    for feature in (student, teacher):
        nodes = feature.flatten(2).transpose(1, 2)
        length = (nodes.square().sum(2, keepdim=True) + eps).sqrt()
        nodes = nodes / (length.detach() if detach_norm else length)
        matrices.append(torch.einsum('bic,bjc->bij', nodes, nodes))
    return (matrices[0] - matrices[1]).square().mean()


def value_and_gradient(loss, student, *rest):
    value = loss(student, *rest)
    (gradient,) = torch.autograd.grad(value, student)
    return value.detach(), gradient


@every_way
@pytest.mark.parametrize('teacher', [(2, 9, 6, 8), (2, 3, 6, 8)])
@pytest.mark.parametrize('mode', ['paper', 'code'])
def test_is_the_formula(way, teacher, mode):
    pair = maps(teacher=teacher)
    expected = value_and_gradient(
        lambda s, t: 3 * naive(s, t, detach_norm=mode == 'code'), *pair
    )
    assert expected[0] > 0.1
    found = value_and_gradient(PairWiseLoss(loss_weight=3, mode=mode, **way), *pair)
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_modes_have_one_value_and_two_gradients():
    pair = maps()
    paper, code = (
        value_and_gradient(PairWiseLoss(mode=m), *pair) for m in ('paper', 'code')
    )
    assert paper[0] == code[0]
    # the formula's does not change a node's length, along which code's goes too
    along = [(g * pair[0]).sum(1).abs().max() for g in (paper[1], code[1])]
    assert along[0] < 1e-7 < 1e-4 < along[1]
    assert PairWiseLoss().mode == 'paper'


def test_by_hand():
    """Two nodes, at right angles for the student and alike for the teacher."""
    student = torch.tensor([[3.0, 0.0], [0.0, 0.5]]).view(1, 2, 1, 2)
    teacher = torch.tensor([[2.0, 5.0]]).view(1, 1, 1, 2)
    loss = PairWiseLoss(eps=1e-12)
    assert loss(student, teacher).item() == pytest.approx(2 / 4)
    assert loss(student, -teacher).item() == pytest.approx(2 / 4)
    opposite = teacher * torch.tensor([1.0, -1.0])
    assert loss(teacher, opposite).item() == pytest.approx(2 * 2**2 / 4)
    # a length of sqrt(2): similarities of a half
    halved = PairWiseLoss(eps=1.0)
    assert halved(torch.ones(1, 1, 1, 2), torch.zeros(1, 1, 1, 2)) == pytest.approx(
        0.25
    )


@every_way
def test_gradient_is_that_of_finite_differences(way):
    student, teacher = maps((2, 3, 2, 3), (2, 2, 4, 5))
    loss = PairWiseLoss(**way)
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)


@every_way
def test_no_gradient_reaches_the_teacher(way):
    student, teacher = maps()
    teacher.requires_grad_()
    PairWiseLoss(**way)(student, teacher).backward()
    assert student.grad.abs().max() > 0
    assert teacher.grad is None


@every_way
def test_is_zero_where_both_are_alike(way):
    student, _ = maps(dtype=torch.float32)
    # neither length nor turning of the features counts
    generator = torch.Generator().manual_seed(1)
    turn = torch.linalg.qr(torch.randn(7, 5, generator=generator)).Q
    other = torch.einsum('dc,bchw->bdhw', turn, 3 * student.detach())
    value, gradient = value_and_gradient(PairWiseLoss(**way), student, other)
    assert 0 <= value < 1e-11
    assert gradient.abs().max() < 1e-8


@every_way
def test_teacher_is_resized_bilinearly_with_aligned_corners(way):
    student, teacher = maps(teacher=(2, 9, 11, 10))
    resized = F.interpolate(teacher, (6, 8), mode='bilinear', align_corners=True)
    value = PairWiseLoss(**way)(student, teacher)
    torch.testing.assert_close(value, naive(student, resized), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ('node_size', 'pooled', 'pool'),
    [
        (3, F.avg_pool2d, 'avg'),
        ((2, 5), F.avg_pool2d, 'avg'),
        ([3, 2], F.max_pool2d, 'max'),
        (16, F.max_pool2d, 'max'),
    ],
)
def test_nodes_are_pooled(node_size, pooled, pool):
    # at the border a node is smaller: 7x9 pixels are 3x5 nodes of 3x2
    student, teacher = maps((2, 5, 7, 9), (2, 4, 7, 9))
    size = node_size if isinstance(node_size, int) else tuple(node_size)
    small = [pooled(m, size, ceil_mode=True) for m in (student, teacher)]
    expected = value_and_gradient(
        lambda s: naive(pooled(s, size, ceil_mode=True), small[1]), student
    )
    loss = PairWiseLoss(node_size=node_size, pool=pool)
    for a, b in zip(value_and_gradient(loss, student, teacher), expected):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert loss.nodes(student).shape[1] == small[0][0, 0].numel()


def test_pooling_by_hand():
    feature = torch.tensor([1.0, 3.0, 8.0]).view(1, 1, 1, 3).repeat(1, 2, 1, 1)
    feature[:, 1] = 1
    for pool, expected in (('avg', (2, 8)), ('max', (3, 8))):
        nodes = PairWiseLoss(node_size=2, pool=pool, eps=1e-12).nodes(feature)
        ratio = (nodes[0, :, 0] / nodes[0, :, 1]).tolist()
        assert ratio == pytest.approx(expected)
    assert PairWiseLoss(node_size=2).pool == 'avg'


class LargestTensor(TorchDispatchMode):
    """The number of elements of the largest tensor that an operation has made."""

    def __init__(self):
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in tree_flatten(out)[0]:
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def largest(loss, side, channels=4):
    """Over the forward and the backward pass, one image."""
    student, teacher = maps((1, channels, side, side), (1, channels, side, side))
    with LargestTensor() as seen:
        loss(student, teacher).backward()
    assert student.grad.abs().max() > 0
    return seen.elements


def test_memory_does_not_grow_with_the_fourth_power_of_the_side():
    assert largest(naive, 32) == 32**4  # what is avoided
    # rows x N, and half of it with half the rows
    assert largest(PairWiseLoss(way='rows', rows=64), 32) == 64 * 32**2
    assert largest(PairWiseLoss(way='rows', rows=32), 32) == 32 * 32**2
    assert largest(PairWiseLoss(way='rows', rows=64), 64) == 64 * 64**2
    assert PairWiseLoss(way='rows').rows == 256
    # channels only: no more than the map itself
    assert largest(PairWiseLoss(way='gram'), 32) == 4 * 32**2
    assert largest(PairWiseLoss(), 32) == 4 * 32**2
    # pooled nodes: the map, and a matrix of 8^2 x 8^2
    assert largest(PairWiseLoss(way='rows', node_size=4), 32) == 4 * 32**2


def test_the_cheaper_way_is_taken(monkeypatch):
    taken = []
    owner = importlib.import_module('pixel_pair_kd.losses.pair_wise_loss')
    for name in ('rows', 'gram'):
        way = getattr(similarity, f'by_{name}')
        monkeypatch.setattr(
            owner,
            f'by_{name}',
            lambda *a, way=way, name=name: (taken.append(name), way(*a))[1],
        )
    few, many = maps((1, 2, 8, 8), (1, 2, 8, 8)), maps((1, 60, 8, 8), (1, 60, 8, 8))
    loss = PairWiseLoss()
    assert loss.way == 'auto'
    for pair in (few, many):
        loss(*pair)
    # pooled, there are fewer nodes and the matrix is small
    PairWiseLoss(node_size=4)(*few)
    for way in ('rows', 'gram'):
        PairWiseLoss(way=way)(*few)
    assert taken == ['gram', 'rows', 'rows', 'rows', 'gram']
    # of DeepLabV3+'s encoders: 33x33 nodes, 512 and 2048 channels
    assert similarity.cheaper(1089, 512, 2048) == 'rows'
    # N (3 Cs + Ct) / 2 against 2 (3 Cs^2 + 2 Cs Ct + Ct^2), at Cs = Ct = 1
    assert [similarity.cheaper(n, 1, 1) for n in (6, 7)] == ['rows', 'gram']


@pytest.mark.parametrize('way', ['rows', 'gram'])
def test_small_differences_survive_float32(way):
    """In float32 the products of channels would cancel: 1 % off at this loss."""
    _, teacher = maps(teacher=(1, 16, 20, 20))
    teacher = teacher.abs()
    noise = torch.randn(teacher.shape, generator=torch.Generator().manual_seed(1))
    student = teacher + 0.01 * noise
    expected = naive(student, teacher).item()
    assert 1e-6 < expected < 1e-4
    value = PairWiseLoss(way=way)(student.float(), teacher.float())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-5)


def test_rounding_leaves_no_loss_below_zero():
    values = []
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        nodes = torch.rand(1, 50, 6, generator=generator, dtype=torch.float64)
        turn = torch.randn(6, 6, generator=generator, dtype=torch.float64)
        other = nodes @ torch.linalg.qr(turn).Q
        values.append(similarity.by_gram(nodes, other).item())
    assert min(values) == 0
    assert 0 < max(values) < 1e-9


@every_way
def test_is_finite_on_constant_maps(way):
    loss = PairWiseLoss(**way)
    for student_value, teacher_value in ((0, 0), (0, 5), (1e4, 0), (-3, 7), (1e-20, 1)):
        student = torch.full((2, 3, 4, 4), float(student_value), requires_grad=True)
        value = loss(student, torch.full((2, 6, 4, 4), float(teacher_value)))
        value.backward()
        # without a length a node is like no other
        expected = float((abs(student_value) < 1e-3) != (teacher_value == 0))
        assert value.item() == pytest.approx(expected, abs=1e-5)
        assert student.grad.isfinite().all()


@every_way
@pytest.mark.parametrize(
    'dtype',
    [pytest.param(torch.float16, marks=pytest.mark.cpu_float16), torch.bfloat16],
)
def test_is_float32_inside_autocast(way, dtype):
    # squared and summed, these exceed float16's 65504
    student, teacher = (m.detach().mul(200).to(dtype) for m in maps())
    loss = PairWiseLoss(**way)
    expected = loss(student.float(), teacher.float())
    student.requires_grad_()
    with torch.autocast('cpu', dtype):
        value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()
    value.backward()
    assert student.grad.dtype == dtype
    assert student.grad.isfinite().all()
    assert loss(student.detach(), teacher).item() == expected.item()


def test_is_in_mmrazors_registry():
    loss = MODELS.build(dict(type='mmrazor.PairWiseLoss', node_size=2, way='gram'))
    assert type(loss) is PairWiseLoss
    assert loss.loss_weight == 1
    assert repr(loss) == (
        "PairWiseLoss(loss_weight=1.0, node_size=(2, 2), pool='avg', mode='paper', "
        "way='gram', rows=256, eps=1e-06)"
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(pool='mean'), "pool must be 'avg' or 'max', got 'mean'"),
        (dict(mode='page'), "mode must be 'paper' or 'code', got 'page'"),
        (dict(way='full'), "way must be 'auto' or 'rows' or 'gram', got 'full'"),
        (dict(node_size=0), r'node_size=0: expected a number of pixels'),
        (dict(node_size=(1, 2, 3)), r'node_size=\(1, 2, 3\): expected'),
        (dict(node_size=0.5), 'node_size=0.5: expected'),
        (dict(rows=0), 'rows must be 1 or more, got 0'),
        (dict(eps=0), 'eps must be above 0, got 0'),
    ],
)
def test_arguments_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PairWiseLoss(**options)


@pytest.mark.parametrize('shape', [(1, 4, 6, 8), (2, 4, 6)])
def test_maps_that_do_not_go_together_are_refused(shape):
    with pytest.raises(ValueError, match='cannot be compared'):
        PairWiseLoss()(torch.rand(2, 5, 6, 8), torch.rand(shape))


@pytest.mark.parametrize(
    ('module', 'examples'),
    [('pair_wise_loss', 4), ('pixel_wise_loss', 3), ('similarity', 5)],
)
def test_examples(module, examples):
    module = importlib.import_module(f'pixel_pair_kd.losses.{module}')
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted == examples
