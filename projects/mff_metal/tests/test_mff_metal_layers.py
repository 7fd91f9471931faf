"""Blocks of MFF-Metal and LMFFNet, and the examples of all of its networks."""

import doctest
import importlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mff_metal.layers import (
    Downsampling,
    FeatureFusion,
    PartitionChannelAttention,
    SplitExtractMerge,
)


@pytest.mark.parametrize('kernel_size', [2, 3])
def test_downsampling_repeats_an_odd_border(kernel_size):
    layer = Downsampling(3, 8, kernel_size).eval()
    x = torch.rand(2, 3, 7, 10)
    out = layer(x)
    assert out.shape == (2, 8, 4, 5)
    repeated = torch.cat([x, x[:, :, -1:]], dim=2)
    torch.testing.assert_close(out, layer(repeated))
    # the last three channels are the pooled ones
    pooled = F.max_pool2d(x, 2, ceil_mode=True) / (1 + 1e-3) ** 0.5
    torch.testing.assert_close(out[:, 5:], pooled)


def test_downsampling_that_does_not_widen():
    layer = Downsampling(9, 8)
    assert layer.pool is None
    assert layer.conv.out_channels == 8
    assert layer(torch.rand(2, 9, 8, 8)).shape == (2, 8, 4, 4)
    with pytest.raises(ValueError, match='kernel_size is 4; expected 2 or 3'):
        Downsampling(3, 8, kernel_size=4)


def test_bottleneck_is_residual():
    block = SplitExtractMerge(12, (1, 2, 3), norm_cfg=dict(type='BN', eps=0)).eval()
    nn.init.zeros_(block.expand.conv.weight)
    x = torch.randn(2, 12, 5, 7)
    # the slope of a PReLU starts at 1/4
    torch.testing.assert_close(block(x), F.leaky_relu(x, 0.25))


def test_attention_by_hand():
    attention = PartitionChannelAttention(2, reduction=1)
    with torch.no_grad():
        # the mean of the map plus the upper left quarter's, twice
        attention.quarters.conv.weight.copy_(torch.tensor([[2.0, 0], [0, 0]]))
        attention.fc[0].weight.copy_(torch.eye(2))
        attention.fc[2].weight.copy_(torch.eye(2))
    x = torch.zeros(1, 2, 4, 4)
    x[0, 0, :2, :2] = 1.0
    x[0, 1, 2:, 2:] = 3.0
    expected = x * torch.tensor([0.25 + 2, 0.75]).sigmoid().reshape(1, 2, 1, 1)
    torch.testing.assert_close(attention(x), expected)


def test_reduction():
    def hidden(*args):
        return PartitionChannelAttention(*args).fc[0].out_features

    assert [hidden(90), hidden(90, 4), hidden(4)] == [11, 22, 1]


def test_fusion_order():
    """Direct maps pass as they are, in their places; the attended ones are scaled."""
    fusion = FeatureFusion(3, 2, 6, act_cfg=dict(type='ReLU')).eval()
    with torch.no_grad():
        fusion.mix.conv.weight.copy_(torch.eye(6)[:, :5, None, None])
        fusion.attention.fc[2].weight.zero_()  # sigmoid(0) is a half
    maps = [torch.rand(2, 1, 4, 4) for _ in range(5)]
    out = fusion(maps[:2], maps[2:4], maps[4:])
    expected = torch.cat([*maps[:2], 0.5 * maps[2], 0.5 * maps[3], maps[4]], 1)
    torch.testing.assert_close(out[:, :5], expected / (1 + 1e-3) ** 0.5)
    assert out[:, 5].abs().max() == 0


@pytest.mark.parametrize(
    'module',
    [
        'layers.norm_act',
        'layers.stem',
        'layers.split_extract_merge',
        'layers.stage',
        'layers.feature_fusion',
        'layers.attention_decoder',
        'backbones.mff_metal_encoder',
        'backbones.lmffnet',
        'decode_heads.mff_metal_head',
        'decode_heads.lmffnet_head',
        'conversion',
    ],
)
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f'mff_metal.{module}'))
    assert result.attempted >= 2
    assert result.failed == 0
