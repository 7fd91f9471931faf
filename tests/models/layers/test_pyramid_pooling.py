import pytest
import torch
from mmseg.models.decode_heads.psp_head import PPM
from torch import nn

from fastsegformer_mm.models.layers import pyramid_pooling
from fastsegformer_mm.models.layers.pyramid_pooling import PyramidPooling

BN_RELU = {'norm_cfg': {'type': 'BN'}, 'act_cfg': {'type': 'ReLU'}}


def test_values_by_hand():
    pyramid = PyramidPooling(2, 1, pool_scales=(1, 2))
    for p in pyramid.parameters():
        nn.init.constant_(p, float(p.dim() > 1))  # weights 1, biases 0
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(1, 2, 4, 4)
    out = pyramid(x)[0, 0]
    # two channels each: input 0, mean 7.5, mean of the first quarter 2.5 at the corner
    assert out[0, 0] == 2 * (0 + 7.5 + 2.5)
    # the last quarter's mean is 12.5
    assert out[3, 3] == 2 * (15 + 7.5 + 12.5)


def test_constant_map_stays_constant():
    pyramid = PyramidPooling(8, 3, act_cfg={'type': 'ReLU'})
    out = pyramid(torch.full((1, 8, 5, 9), 0.7))
    assert out.shape == (1, 3, 5, 9)
    torch.testing.assert_close(out, out[..., :1, :1].expand_as(out))


def test_align_corners_reaches_the_upsampling():
    x = torch.rand(2, 8, 7, 7)
    aligned, plain = (PyramidPooling(8, 4, align_corners=a) for a in (True, False))
    plain.load_state_dict(aligned.state_dict())
    assert (aligned(x) - plain(x)).abs().max() > 1e-3


def test_batch_of_one_trains_with_running_statistics():
    pyramid = PyramidPooling(8, 4, **BN_RELU).train()
    norm = pyramid.branches[0][1].norm
    norm.running_mean.uniform_(-0.1, 0.1)
    norm.running_var.uniform_(0.5, 1.5)
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    others = [branch[1].norm.running_mean for branch in list(pyramid.branches)[1:]]
    x = torch.rand(1, 8, 7, 7)
    outputs = []
    handle = pyramid.branches[0].register_forward_hook(
        lambda module, args, out: outputs.append(out)
    )
    pyramid(x).sum().backward()
    handle.remove()

    pooled = pyramid.branches[0][1].conv(x.mean((2, 3), keepdim=True)).flatten()
    expected = ((pooled - mean) / (var + norm.eps).sqrt()).relu()
    torch.testing.assert_close(outputs[0].flatten(), expected)
    torch.testing.assert_close(norm.running_mean, mean, rtol=0, atol=0)
    assert all(other.abs().max() > 0 for other in others)
    assert norm.training
    assert all(p.grad is not None for p in pyramid.parameters())


def test_larger_batches_are_stock_ppm():
    pyramid = PyramidPooling(8, 4, **BN_RELU).train()
    stock = PPM((1, 2, 3, 6), 8, 2, conv_cfg=None, align_corners=True, **BN_RELU)
    stock.load_state_dict(pyramid.branches.state_dict())
    x = torch.rand(2, 8, 7, 7)
    expected = pyramid.out(torch.cat([x, *stock(x)], 1))
    torch.testing.assert_close(pyramid(x), expected)
    after = pyramid.branches.state_dict()
    for key, value in stock.state_dict().items():
        torch.testing.assert_close(after[key], value)


def test_frozen_norm_stays_frozen():
    pyramid = PyramidPooling(8, 4, **BN_RELU).train()
    pyramid.branches[0][1].norm.eval()
    pyramid(torch.rand(1, 8, 7, 7))
    assert not pyramid.branches[0][1].norm.training


@pytest.mark.parametrize(('world_size', 'count'), [(1, 1), (2, 0)])
def test_sync_bn_gathers_where_there_is_someone_to_ask(monkeypatch, world_size, count):
    monkeypatch.setattr(pyramid_pooling, 'get_world_size', lambda: world_size)
    pyramid = PyramidPooling(8, 4, norm_cfg={'type': 'SyncBN'}).train()
    assert len(pyramid._norms_of_single_values()) == count


def test_other_norms_and_none_need_nothing():
    for norm_cfg in (None, {'type': 'GN', 'num_groups': 1}):
        pyramid = PyramidPooling(8, 4, norm_cfg=norm_cfg).train()
        assert pyramid(torch.rand(1, 8, 7, 7)).shape == (1, 4, 7, 7)
