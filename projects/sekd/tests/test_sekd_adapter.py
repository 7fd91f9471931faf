"""The adapter of SEKD and its attention."""

import pytest
import torch

from fastsegformer_mm.compat import import_mmrazor
from sekd.connectors import SEKDAdapter
from sekd.connectors.cbam import CBAM
from sekd.random_window import hide_window

MODELS = import_mmrazor().registry.MODELS


def fill(cbam, first, second, spatial):
    """Give a CBAM's three layers weights from lists."""
    for layer, values in zip(
            (cbam.perceptron[0], cbam.perceptron[2], cbam.spatial),
            (first, second, spatial)):
        layer.weight.data.copy_(torch.tensor(values).view_as(layer.weight))
        assert layer.bias is None
    return cbam


@torch.no_grad()
def test_channel_attention_by_hand():
    cbam = fill(CBAM(2, reduction=2, kernel_size=1), [1.0, 2.0], [1.0, -0.5], [0.0, 0])
    feature = torch.tensor([[[[1.0, 3.0]], [[-2.0, -1.0]]]])
    # means 2 and -1.5, maxima 3 and -1: hidden relu(2 - 3) = 0 and relu(3 - 2) = 1
    gate = torch.tensor([1.0, -0.5]).sigmoid()
    assert torch.allclose(cbam.channel_gate(feature).flatten(), gate)
    # the convolution's zeros halve all
    assert torch.allclose(cbam(feature), feature * gate.view(1, 2, 1, 1) / 2)


@torch.no_grad()
def test_spatial_attention_by_hand():
    cbam = fill(CBAM(2, reduction=2, kernel_size=1), [0.0, 0], [0.0, 0], [2.0, -1.0])
    feature = torch.tensor([[[[1.0, 3.0]], [[-2.0, 5.0]]]])
    # 2 x mean - maximum over the channels: -1 - 1, 8 - 5
    gate = torch.tensor([-2.0, 3.0]).sigmoid().view(1, 1, 1, 2)
    assert torch.allclose(cbam.spatial_gate(feature), gate)
    # halved by the perceptron's zeros, it gates what the channels' gate has left
    half = torch.tensor([-1.0, 1.5]).sigmoid().view(1, 1, 1, 2)
    assert torch.allclose(cbam(feature), feature / 2 * half)


def test_sizes_of_the_attention():
    cbam = CBAM(64)
    assert [tuple(p.shape) for p in cbam.parameters()] == [
        (4, 64, 1, 1), (64, 4, 1, 1), (1, 2, 7, 7)]
    wide = CBAM(64, reduction=8, kernel_size=3)
    assert sum(p.numel() for p in wide.parameters()) == 2 * 64 * 8 + 2 * 9


@pytest.mark.parametrize(('options', 'match'), [
    (dict(channels=40), 'channels=40 is no multiple of reduction=16'),
    (dict(channels=64, kernel_size=4), 'kernel_size must be odd, got 4')])
def test_attention_refuses(options, match):
    with pytest.raises(ValueError, match=match):
        CBAM(**options)


def test_adapter_has_the_papers_layers():
    adapter = MODELS.build(
        dict(type='mmrazor.SEKDAdapter', in_channel=160, out_channel=320))
    assert type(adapter) is SEKDAdapter
    assert {k: tuple(v.shape) for k, v in adapter.named_parameters()} == {
        'layers.0.conv.weight': (64, 160, 1, 1),
        'layers.0.bn.weight': (64,), 'layers.0.bn.bias': (64,),
        'layers.1.perceptron.0.weight': (4, 64, 1, 1),
        'layers.1.perceptron.2.weight': (64, 4, 1, 1),
        'layers.1.spatial.weight': (1, 2, 7, 7),
        'layers.2.conv.weight': (320, 64, 3, 3),
        'layers.2.bn.weight': (320,), 'layers.2.bn.bias': (320,),
        'layers.3.perceptron.0.weight': (20, 320, 1, 1),
        'layers.3.perceptron.2.weight': (320, 20, 1, 1),
        'layers.3.spatial.weight': (1, 2, 7, 7)}
    other = SEKDAdapter(8, 12, mid_channel=4, reduction=2, kernel_size=3)
    shapes = [tuple(p.shape) for n, p in other.named_parameters() if 'bn' not in n]
    assert shapes == [(4, 8, 1, 1), (2, 4, 1, 1), (4, 2, 1, 1), (1, 2, 3, 3),
                      (12, 4, 3, 3), (6, 12, 1, 1), (12, 6, 1, 1), (1, 2, 3, 3)]


def test_adapter_is_the_layers_in_their_order():
    torch.manual_seed(0)
    adapter = SEKDAdapter(16, 32).train()
    feature = torch.randn(2, 16, 6, 5, requires_grad=True)
    first, attention, second, last = adapter.layers
    hidden = first.bn(first.conv(feature)).relu()
    hidden = attention.spatial_gate(
        hidden * attention.channel_gate(hidden)) * hidden * attention.channel_gate(
            hidden)
    # the second has no ReLU: what is compared has both signs
    expected = last(second.bn(second.conv(hidden)))
    found = adapter(feature)
    assert torch.allclose(found, expected, atol=1e-6)
    assert (found < 0).float().mean() > 0.2
    found.square().sum().backward()
    assert feature.grad.abs().min() > 0
    assert all(p.grad.abs().max() > 0 for p in adapter.parameters())


@pytest.mark.parametrize('per_sample', [False, True])
def test_adapter_hides_a_window_before_its_layers(per_sample):
    torch.manual_seed(0)
    plain = SEKDAdapter(4, 32)
    masked = SEKDAdapter(4, 32, mask_ratio=0.3, per_sample=per_sample)
    masked.load_state_dict(plain.state_dict())
    feature = torch.randn(3, 4, 10, 10)
    torch.manual_seed(1)
    expected = plain(hide_window(feature, 0.3, per_sample))
    torch.manual_seed(1)
    assert torch.equal(masked(feature), expected)
    assert not torch.equal(plain(feature), expected)


def test_adapter_refuses_a_window_larger_than_the_map():
    with pytest.raises(ValueError, match=r'mask_ratio must be in .*, got 1.5'):
        SEKDAdapter(4, 32, mask_ratio=1.5)
