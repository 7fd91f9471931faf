import pytest
import torch
from torch import nn

from fastsegformer_mm.models.layers.multi_scale_pyramid import MultiScalePyramid


def test_values_by_hand():
    pyramid = MultiScalePyramid(4, 1, kernel_sizes=(1, 3))
    for p in pyramid.parameters():
        nn.init.constant_(p, float(p.dim() > 1))  # weights 1, biases 0
    out = pyramid(torch.ones(1, 4, 3, 3))
    # the input's 4 channels; 1x1: 2 channels of 4, mixed to 8; 3x3: 2 channels of
    # 4 * (values under the window), mixed to twice that
    corner, edge, centre = (4 + 2 * 8 + 2 * 2 * 4 * n for n in (4, 6, 9))
    expected = [
        [corner, edge, corner],
        [edge, centre, edge],
        [corner, edge, corner],
    ]
    assert out[0, 0].tolist() == expected


@pytest.mark.parametrize('size', [(1, 1), (7, 7), (5, 12)])
def test_keeps_the_size_and_trains(size):
    pyramid = MultiScalePyramid(8, 6, norm_cfg={'type': 'BN'}, act_cfg={'type': 'ReLU'})
    out = pyramid(torch.rand(2, 8, *size))
    assert out.shape == (2, 6, *size)
    assert out.min() == 0
    out.square().sum().backward()
    assert all(p.grad is not None for p in pyramid.parameters())


def test_options_reach_every_convolution():
    pyramid = MultiScalePyramid(
        8,
        6,
        kernel_sizes=(1, 5),
        conv_cfg={'type': 'Conv2dAdaptivePadding'},
        norm_cfg={'type': 'GN', 'num_groups': 2},
        act_cfg={'type': 'GELU'},
    )
    kinds = [type(m) for m in pyramid.modules()]
    assert sum(issubclass(k, nn.Conv2d) for k in kinds) == 5
    assert nn.Conv2d not in kinds
    assert kinds.count(nn.GroupNorm) == kinds.count(nn.GELU) == 5
    kernels = [branch[0].conv.kernel_size for branch in pyramid.branches]
    assert kernels == [(1, 1), (5, 5)]


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r'odd.*\[4\] in \(1, 4\)'):
        MultiScalePyramid(8, 8, kernel_sizes=(1, 4))
