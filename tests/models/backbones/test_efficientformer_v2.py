import math
from copy import deepcopy

import pytest
import torch
from mmcv.cnn.bricks import DropPath
from mmengine.utils import digit_version
from mmseg.registry import MODELS
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from fastsegformer_mm.models.backbones.efficientformer_v2 import EfficientFormerV2
from fastsegformer_mm.models.backbones.efficientformer_v2_layers import (
    Attention,
    Block,
    OffsetBias,
    StridedAttention,
)

# one block of each kind in each place: quick to run
TINY = {
    'embed_dims': [8, 8, 16, 16],
    'mlp_ratios': [[2], [2], [2, 3], [3, 2]],
    'num_attention': 1,
}
PARAMETERS = {'s0': 3246608, 's1': 5735960, 's2': 12132592, 'l': 25552912}
# Table 2 of the paper, in millions: the classifier, BatchNorms folded
PUBLISHED = {'s0': 3.5, 's1': 6.1, 's2': 12.6, 'l': 26.1}


def lively(model):
    """Make every path count: the official start scales the blocks by 1e-5."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if 'layer_scale' in name or name.endswith('running_var'):
                value.uniform_(0.5, 1)
            elif 'attention_biases' in name or name.endswith('running_mean'):
                value.normal_()
    return model


def test_unknown_settings():
    with pytest.raises(ValueError, match=r"'s3'.*'s0', 's1', 's2', 'l'"):
        EfficientFormerV2('s3')
    with pytest.raises(ValueError, match=r"keys \['depths'\].*embed_dims"):
        EfficientFormerV2({'depths': [1, 1, 1, 1]})
    with pytest.raises(ValueError, match='3 embed_dims and 4 lists'):
        EfficientFormerV2({**TINY, 'embed_dims': [8, 8, 8]})
    for indices in ((0, 7), (), (2, 0), (1, 1), (-8,)):
        with pytest.raises(ValueError, match=r'out_indices.*0\.\.6'):
            EfficientFormerV2(TINY, out_indices=indices)
    for frozen in (-2, 5):
        with pytest.raises(ValueError, match=f'frozen_stages is {frozen}'):
            EfficientFormerV2(TINY, frozen_stages=frozen)
    for rate in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f'drop_path_rate is {rate}'):
            EfficientFormerV2(TINY, drop_path_rate=rate)
    with pytest.raises(ValueError, match='resolution is 0'):
        EfficientFormerV2(TINY, resolution=0)


@pytest.mark.parametrize('arch', PARAMETERS)
def test_parameter_counts(arch):
    model = MODELS.build({'type': 'EfficientFormerV2', 'arch': arch})
    count = sum(p.numel() for p in model.parameters())
    assert count == PARAMETERS[arch]
    # the classifier has one norm and two heads where the backbone has 4 norms
    width = model.arch_settings[arch]['embed_dims'][-1]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    folded = count - sum(p.numel() for m in norms for p in m.parameters())
    folded += 2 * (width * 1000 + 1000)
    assert abs(folded / 1e6 - PUBLISHED[arch]) < 0.051


def test_structure():
    model = EfficientFormerV2('s2')
    attention = [name for name, m in model.named_modules() if isinstance(m, Attention)]
    stage_3 = [f'network.4.{i}.token_mixer' for i in range(8, 12)]
    stage_4 = [f'network.6.{i}.token_mixer' for i in range(4, 8)]
    assert attention == stage_3 + stage_4
    halved = [name for name in attention if model.get_submodule(name).stride_conv]
    assert halved == stage_3
    assert model.network[6][2].mlp.fc1.out_channels == 3 * 288
    assert model.network[6][7].mlp.fc1.out_channels == 4 * 288
    assert all(p.dtype.is_floating_point for p in model.parameters())
    integers = {k for k, v in model.state_dict().items() if not v.is_floating_point()}
    assert {k.split('.')[-1] for k in integers} == {'num_batches_tracked'}
    scales = [p for k, p in model.named_parameters() if 'layer_scale' in k]
    assert all(p.shape[1:] == (1, 1) and (p == 1e-5).all() for p in scales)
    biases = [p for k, p in model.named_parameters() if 'attention_biases' in k]
    assert [p.shape[1] for p in biases] == [49] * 4 + [196] + [49] * 4
    assert not any(p.any() for p in biases)


@pytest.mark.parametrize(
    'size', [(224, 224), (225, 161), (32, 32), (33, 65), (96, 640), (1, 1)]
)
def test_any_size(size):
    model = EfficientFormerV2('s0').eval()
    with torch.no_grad():
        outs = model(torch.rand(1, 3, *size))
    assert [o.shape[1] for o in outs] == [32, 48, 96, 176]
    for out, stride in zip(outs, (4, 8, 16, 32)):
        assert out.shape[2:] == tuple(math.ceil(s / stride) for s in size)
        assert out.isfinite().all()


def test_out_indices():
    image = torch.rand(1, 3, 64, 64)
    whole = lively(EfficientFormerV2(TINY)).eval()
    part = EfficientFormerV2(TINY, out_indices=(1, 2, 4)).eval()
    result = part.load_state_dict(whole.state_dict(), strict=False)
    assert {k.split('.')[0] for k in result.missing_keys} == {'norm1'}
    assert {k.split('.')[0] for k in result.unexpected_keys} == {
        'network',
        'norm0',
        'norm6',
    }
    assert len(part.network) == 5
    outs, expected = part(image), whole(image)
    assert [tuple(o.shape[1:]) for o in outs] == [(8, 8, 8), (8, 8, 8), (16, 4, 4)]
    assert torch.equal(outs[1], expected[1])
    assert torch.equal(outs[2], expected[2])
    assert EfficientFormerV2(TINY, out_indices=(-7, -1)).out_indices == (0, 6)
    assert EfficientFormerV2(TINY, out_indices=-1).out_indices == (6,)
    sum(o.sum() for o in part.train()(image)).backward()
    assert all(p.grad is not None for p in part.parameters())


def test_gradients_at_odd_size():
    model = lively(EfficientFormerV2(TINY))
    image = torch.rand(2, 3, 75, 141, requires_grad=True)
    sum(o.square().sum() for o in model(image)).backward()
    assert image.grad.abs().sum() > 0
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.network[5].attn.attention_biases.grad.any()


def test_batch_of_one_trains_above_32_pixels():
    model = EfficientFormerV2(TINY)
    assert model(torch.rand(1, 3, 33, 32))[3].shape == (1, 16, 2, 1)


def test_drop_path():
    model = EfficientFormerV2(TINY, drop_path_rate=0.5)
    blocks = [m for m in model.modules() if isinstance(m, Block)]
    rates = [getattr(b.drop_path, 'drop_prob', 0) for b in blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    own = {'s0': 0, 's1': 0, 's2': 0.02, 'l': 0.1}
    for arch, rate in own.items():
        block = EfficientFormerV2(arch).network[6][-1]
        assert getattr(block.drop_path, 'drop_prob', 0) == rate
    without = EfficientFormerV2('l', drop_path_rate=0.0)
    assert not any(isinstance(m, DropPath) for m in without.modules())

    lively(model)
    image = torch.rand(2, 3, 64, 64)
    model.eval()
    plain = EfficientFormerV2(TINY).eval()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model(image)[3], plain(image)[3])
    model.train()
    first, second = model(image)[3], model(image)[3]
    assert not torch.equal(first, second)


@pytest.mark.parametrize('frozen_stages', [-1, 0, 1, 3, 4])
def test_frozen_stages(frozen_stages):
    model = EfficientFormerV2(TINY, frozen_stages=frozen_stages)
    last = 2 * frozen_stages
    frozen = ['patch_embed.'] if frozen_stages >= 0 else []
    frozen += [f'network.{i}.' for i in range(last)]
    frozen += [f'norm{i}.' for i in range(last)]
    frozen = tuple(frozen)

    before = deepcopy(model.state_dict())
    for _ in range(2):
        model.train()
        loss = sum(o.square().sum() for o in model(torch.rand(2, 3, 64, 64)))
        assert loss.requires_grad == (frozen_stages < 4)
        if loss.requires_grad:
            loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != name.startswith(frozen), name
        assert (parameter.grad is None) == name.startswith(frozen), name
    for name, buffer in model.state_dict().items():
        if name.endswith('running_mean'):
            same = torch.equal(buffer, before[name])
            assert same == name.startswith(frozen), name
    for name, module in model.named_modules():
        if name and not list(module.children()):
            assert module.training != f'{name}.'.startswith(frozen), name


def test_norm_eval():
    model = EfficientFormerV2(TINY, norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert not any(m.training for m in norms)
    assert all(m.weight.requires_grad for m in norms)
    assert model.training
    assert model.network[0].training
    before = deepcopy(norms[0].running_mean)
    model(torch.rand(2, 3, 64, 64))
    assert torch.equal(norms[0].running_mean, before)


def test_norm_cfg():
    model = lively(EfficientFormerV2(TINY)).eval()
    synced = EfficientFormerV2(TINY, norm_cfg={'type': 'SyncBN'}).eval()
    norms = [m for m in synced.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert all(isinstance(m, nn.SyncBatchNorm) for m in norms)
    synced.load_state_dict(model.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(synced(image)[3], model(image)[3])
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(model))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in converted.modules())
    slow = EfficientFormerV2(TINY, norm_cfg={'type': 'BN', 'momentum': 0.01})
    assert slow.norm6.momentum == 0.01


def test_with_cp():
    plain = lively(EfficientFormerV2(TINY, drop_path_rate=0.3))
    saving = EfficientFormerV2(TINY, drop_path_rate=0.3, with_cp=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.rand(2, 3, 64, 96)
    outs, runs = [], []
    for model in (plain, saving):
        # counts how often a block runs: twice when its activations were dropped
        calls = []
        model.network[4][1].mlp.register_forward_hook(lambda *_, c=calls: c.append(1))
        torch.manual_seed(1)
        out = model(image)
        sum(o.square().mean() for o in out).backward()
        outs.append(out)
        runs.append(len(calls))
    assert runs == [1, 2]
    assert all(torch.equal(a, b) for a, b in zip(*outs))
    for (name, a), b in zip(plain.named_parameters(), saving.parameters()):
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-7), name
    for name, value in plain.state_dict().items():
        assert torch.equal(value, saving.state_dict()[name]), name
    assert saving.network[0][0].mlp.norm1.momentum == 0.1
    # nothing to save without gradients
    with torch.no_grad():
        assert not saving(image)[0].requires_grad


@pytest.mark.parametrize('stride', [1, 2])
def test_bias_at_the_stored_grid(stride):
    layer = lively(OffsetBias(3, 4, 4, resolution=5, stride=stride))
    bias = layer.bias(5, 5)
    queries = range(0, 5, stride)
    assert bias.shape == (3, len(queries) ** 2, 25)
    table = layer.attention_biases
    for i, (y, x) in enumerate((y, x) for y in queries for x in queries):
        for j, (v, u) in enumerate((v, u) for v in range(5) for u in range(5)):
            offset = abs(y - v) * 5 + abs(x - u)
            assert torch.equal(bias[:, i, j], table[:, offset])


def test_bias_at_another_grid():
    layer = lively(OffsetBias(8, 32, 128, resolution=7))
    table = layer.attention_biases
    bias = layer.bias(5, 9).view(8, 5, 9, 5, 9)
    assert torch.equal(bias[:, 2, 3, 2, 3], table[:, 0])
    assert torch.allclose(bias[:, 0, 0, 4, 8], table[:, 48])
    assert torch.allclose(bias[:, 4, 8, 0, 0], table[:, 48])
    assert torch.allclose(bias[:, 0, 5, 4, 5], table[:, 42])
    assert torch.allclose(bias[:, 3, 8, 3, 0], table[:, 6])
    # one row or column: no vertical or horizontal offset
    assert torch.equal(layer.bias(1, 1), table[:, None, :1])
    assert torch.equal(layer.bias(1, 7)[:, 0], table[:, :7])


@pytest.mark.parametrize('grid', [(13, 13), (6, 29), (3, 2)])
@pytest.mark.parametrize('stride', [1, 2])
def test_bias_is_stretched_evenly(grid, stride):
    layer = OffsetBias(2, 4, 4, resolution=14, stride=stride)
    steps = torch.arange(14.0)
    plane = 3 * steps[:, None] + 5 * steps
    layer.attention_biases.data = torch.stack([plane.flatten(), -plane.flatten()])
    height, width = grid
    y, x = torch.meshgrid(
        torch.arange(height) * 13 / (height - 1),
        torch.arange(width) * 13 / (width - 1),
        indexing='ij',
    )
    dy = y[::stride, ::stride].reshape(-1, 1) - y.reshape(1, -1)
    dx = x[::stride, ::stride].reshape(-1, 1) - x.reshape(1, -1)
    expected = 3 * dy.abs() + 5 * dx.abs()
    bias = layer.bias(height, width)
    assert torch.allclose(bias[0], expected, atol=1e-4)
    assert torch.allclose(bias[1], -expected, atol=1e-4)


def test_tables_stored_for_another_resolution():
    """A table stretched beforehand gives what is stretched on the fly."""
    small = lively(EfficientFormerV2(TINY, resolution=64)).eval()
    large = EfficientFormerV2(TINY, resolution=128).eval()
    state = small.state_dict()
    tables = [k for k in state if 'attention_biases' in k]
    assert [state[k].shape[1] for k in tables] == [2 * 2, 4 * 4, 2 * 2]
    for key in tables:
        side = math.isqrt(state[key].shape[1])
        state[key] = nn.functional.interpolate(
            state[key].view(1, 8, side, side),
            (2 * side, 2 * side),
            mode='bilinear',
            align_corners=True,
        ).view(8, -1)
    large.load_state_dict(state)
    image = torch.rand(1, 3, 128, 128)
    for a, b in zip(small(image), large(image)):
        assert torch.allclose(a, b, atol=1e-5)


def test_attention_follows_new_weights_in_eval():
    model = lively(EfficientFormerV2(TINY)).eval()
    image = torch.rand(1, 3, 64, 64)
    first = model(image)[3]
    with torch.no_grad():
        model.network[6][1].token_mixer.attention_biases.normal_()
    assert not torch.allclose(first, model(image)[3])


def test_strided_attention_halves_upwards():
    layer = StridedAttention(8, 12, 14, {'type': 'BN'}).eval()
    assert layer(torch.rand(2, 8, 9, 14)).shape == (2, 12, 5, 7)


def test_halved_attention_returns_the_size():
    layer = Attention(8, 7, True, {'type': 'BN'}).eval()
    grids = []
    layer.talking_head1.register_forward_hook(lambda m, i, o: grids.append(o.shape))
    assert layer(torch.rand(2, 8, 9, 14)).shape == (2, 8, 9, 14)
    assert grids == [(2, 8, 5 * 7, 5 * 7)]


def test_autocast():
    model = lively(EfficientFormerV2(TINY))
    image = torch.rand(2, 3, 97, 64)
    with torch.autocast('cpu', torch.bfloat16):
        outs = model(image)
        loss = sum(o.float().square().mean() for o in outs)
    loss.backward()
    assert all(o.isfinite().all() for o in outs)
    assert all(p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    with torch.no_grad():
        expected = model(image)
        with torch.autocast('cpu', torch.bfloat16):
            outs = model(image)
    for out, reference in zip(outs, expected):
        assert (out.float() - reference).abs().max() < 0.1 * reference.abs().max()


@pytest.mark.parametrize('size', [(64, 64), (45, 70)])
def test_export(size):
    model = lively(EfficientFormerV2(TINY, resolution=64)).eval()
    image = torch.rand(1, 3, *size)
    exported = torch.export.export(model, (image,)).module()
    for a, b in zip(model(image), exported(image)):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    'with_cp',
    [
        False,
        # running BatchNorm again to save memory changes the statistics that torch
        # 2.1's compiled backward pass has kept
        pytest.param(
            True,
            marks=pytest.mark.skipif(
                digit_version(torch.__version__) < digit_version('2.2'),
                reason='torch 2.1 does not compile BatchNorm within a checkpoint',
            ),
        ),
    ],
)
def test_compile(with_cp):
    plain = lively(EfficientFormerV2(TINY))
    model = EfficientFormerV2(TINY, with_cp=with_cp)
    model.load_state_dict(plain.state_dict())
    image = torch.rand(2, 3, 64, 64)
    compiled = torch.compile(model, backend='aot_eager', fullgraph=True)
    for net in (plain, compiled):
        sum(o.square().mean() for o in net(image)).backward()
    for (name, a), b in zip(plain.named_parameters(), model.parameters()):
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-5), name
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, model.state_dict()[name], atol=1e-5), name
