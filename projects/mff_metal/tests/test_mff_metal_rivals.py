"""UNet++, Attention U-Net and TransUNet: parameters, wiring, any input size."""

import doctest
import importlib

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

import mff_metal.rivals
from fastsegformer_mm.models.layers import AttentionGate


def build(type, **cfg):
    torch.manual_seed(0)
    return MODELS.build(dict(type=f'mmseg.{type}', **cfg)).eval()


def count(net):
    return sum(p.numel() for p in net.parameters())


# Those that are mostly quoted: 9,163,329 of UNet++ with a bias in each convolution
# (3,648) and one class (33); 34,878,573 of Attention U-Net with one class (65);
# 105,276,066 of TransUNet with a 3x3 classifier of two (290).
@pytest.mark.parametrize(('cfg', 'parameters'), [
    (dict(type='UNetPlusPlus'), 9_163_329 - 3_648 - 33),
    (dict(type='UNetPlusPlus', base_channels=64), 36_622_272),
    (dict(type='UNetPlusPlus', num_rows=4), 2_234_464),
    (dict(type='AttentionUNet'), 34_878_573 - 65),
    (dict(type='AttentionUNet', base_channels=32), 8_726_044),
    (dict(type='AttentionUNet', num_levels=4), 8_651_561),
    (dict(type='TransUNet'), 105_276_066 - 290),
    (dict(type='TransUNet', arch='compact'), 32_828_672),
    # 13x13 patches in place of 14x14
    (dict(type='TransUNet', img_size=(200, 200)), 105_275_776 - 27 * 768)])
def test_parameters(cfg, parameters):
    with torch.device('meta'):
        assert count(build(**cfg)) == parameters


SMALL = {
    'UNetPlusPlus': dict(base_channels=8, num_rows=4),
    'AttentionUNet': dict(base_channels=8, num_levels=4),
    'TransUNet': dict(arch='compact', img_size=(64, 64))}


@pytest.mark.parametrize('size', [(64, 64), (50, 35), (17, 33)], ids=str)
@pytest.mark.parametrize('name', SMALL)
def test_any_size_backward(name, size):
    net = build(name, **SMALL[name]).train()
    maps = net(torch.rand(2, 3, *size))
    assert maps[-1].shape == (2, 8, *size)
    strides = {'UNetPlusPlus': (1, 1, 1), 'AttentionUNet': (8, 4, 2, 1),
               'TransUNet': (8, 4, 2, 1)}[name]
    assert [tuple(x.shape[2:]) for x in maps] == [
        tuple(-(-side // s) for side in size) for s in strides]
    maps[-1].square().mean().backward()
    without = [n for n, p in net.named_parameters() if p.grad is None]
    assert without == []
    assert all(p.grad.isfinite().all() for p in net.parameters())


class Sum(nn.Module):
    """Stands for a node: one channel, the sum of its inputs plus a number."""

    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        self.inputs = x
        return x.sum(1, keepdim=True) + self.number


def test_nodes_of_unet_plus_plus():
    """Each node's inputs are all earlier ones of its row and one from below."""
    net = build('UNetPlusPlus', base_channels=2, num_rows=3)
    for i, key in enumerate(net.nodes):
        net.nodes[key] = Sum(10 ** i)
    assert list(net.nodes) == ['0_0', '1_0', '2_0', '0_1', '1_1', '0_2']
    outs = net(torch.zeros(1, 1, 8, 8))
    x00 = 1
    x10 = x00 + 10
    x20 = x10 + 100
    x01 = x00 + x10 + 1_000
    x11 = x10 + x20 + 10_000
    x02 = x00 + x01 + x11 + 100_000
    assert [float(x.mean()) for x in outs] == [x01, x02]
    # in this order, which weights of elsewhere depend on
    assert net.nodes['0_2'].inputs[0, :, 0, 0].tolist() == [x00, x01, x11]


def test_unet_plus_plus_pools_and_up_samples():
    net = build('UNetPlusPlus', base_channels=2, num_rows=2, align_corners=False)
    aligned = build('UNetPlusPlus', base_channels=2, num_rows=2, align_corners=True)
    for key in net.nodes:
        net.nodes[key] = aligned.nodes[key] = Sum(0)
    x = torch.tensor([[[[0., 4, 1], [2, 1, 8]]]])
    out, = net(x)
    assert net.nodes['1_0'].inputs.tolist() == [[[[4, 8]]]]  # the rest of 1 is kept
    torch.testing.assert_close(
        out - x, torch.tensor([4, 6, 8.]).expand(1, 1, 2, 3))
    out, = aligned(torch.tensor([[[[0., 4, 8, 8]]]]))
    torch.testing.assert_close(
        aligned.nodes['0_1'].inputs[0, 1], torch.tensor([[4, 16 / 3, 20 / 3, 8]]))
    net(torch.tensor([[[[0., 4, 8, 8]]]]))
    torch.testing.assert_close(
        net.nodes['0_1'].inputs[0, 1], torch.tensor([[4, 5, 7, 8.]]))


def test_gate_of_ones_is_a_plain_u_net():
    """Open gates let the skips pass as they are; closed ones stop them."""
    net = build('AttentionUNet', base_channels=4, num_levels=3)
    gates = [m for m in net.modules() if isinstance(m, AttentionGate)]
    assert len(gates) == 2
    x = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        skips = [net.encoder[0](x)]
        for convs in net.encoder[1:]:
            skips.append(convs(nn.functional.max_pool2d(skips[-1], 2)))
        for bias, factor in ((100., 1), (-100., 0)):
            for gate in gates:
                gate.psi.conv.bias.fill_(bias)
            expected = [skips[-1]]
            for level, skip in zip(net.decoder, (skips[1], skips[0])):
                up = level.up(nn.functional.interpolate(expected[-1], scale_factor=2))
                expected.append(level.conv(torch.cat([up, factor * skip], 1)))
            for ours, other in zip(net(x), expected):
                torch.testing.assert_close(ours, other)
        assert len(net(x)) == 3


def test_gates_look_at_the_decoder():
    """What a gate lets through depends on the deeper map."""
    net = build('AttentionUNet', base_channels=4, num_levels=2)
    gate, = [m for m in net.modules() if isinstance(m, AttentionGate)]
    seen = []
    gate.register_forward_hook(lambda _, args, out: seen.append((*args, out)))
    net(torch.rand(1, 3, 8, 8))
    (g, skip, out), = seen
    assert g.shape == skip.shape == out.shape == (1, 4, 8, 8)
    share = out / skip.clamp(min=1e-6)
    assert 0 < share[skip > 1e-3].min() < share[skip > 1e-3].max() < 1
    assert not torch.equal(gate(g + 1, skip), out)


def test_positions_at_native_size_are_unresized():
    net = build('TransUNet', arch='compact', img_size=(64, 50))
    assert net.pos_embed.shape == (1, 512, 4, 4)
    assert net._positions((4, 4)) is net.pos_embed
    larger = net._positions((8, 3))
    assert larger.shape == (1, 512, 8, 3)
    torch.testing.assert_close(larger, nn.functional.interpolate(
        net.pos_embed, (8, 3), mode='bicubic', align_corners=False))
    assert 0.015 < float(net.pos_embed.std()) < 0.025


def test_positions_reach_the_output():
    net = build('TransUNet', arch='compact', img_size=(32, 32))
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        before = net(x)[0]
        net.pos_embed[..., 0, 0] += 1
        assert not torch.allclose(net(x)[0], before)


def test_transformer_sees_the_whole_image():
    """A change of one patch reaches the farthest one before the decoder."""
    net = build('TransUNet', arch='compact', img_size=(64, 64))
    seen = []
    net.norm.register_forward_hook(lambda _, args, out: seen.append(out[0, 0]))
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        net(x)
        far = torch.zeros(512, 4, 4)
        far[:256, 3, 3] = 5
        net.patch_embed.register_forward_hook(lambda _, args, out: out + far)
        net(x)
    assert float((seen[0] - seen[1]).abs().max()) > 1e-3


def test_dropout_of_the_transformer():
    x = torch.rand(2, 3, 32, 32)
    for rate, equal in ((0., True), (0.5, False)):
        net = build('TransUNet', arch='compact', img_size=(32, 32), drop_rate=rate)
        net.train()
        with torch.no_grad():
            assert torch.equal(net(x)[-1], net(x)[-1]) == equal


def test_skips_of_trans_unet():
    """Strides 2, 4, 8 and 16 with 1, 4, 8 and 16 times the base width."""
    net = build('TransUNet', arch='compact')
    maps = net.resnet(torch.rand(1, 3, 64, 64))
    assert [tuple(x.shape[1:]) for x in maps] == [
        (32, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert [len(getattr(net.resnet, name)) for name in net.resnet.res_layers] == [
        3, 4, 9]
    # weights are standardised: their scale and offset make no difference
    conv = net.resnet.layer1[0].conv2
    x = torch.rand(1, 32, 8, 8)
    with torch.no_grad():
        before = conv(x)
        conv.weight.mul_(3).add_(1)
        torch.testing.assert_close(conv(x), before, rtol=1e-3, atol=1e-3)


def test_start_of_trans_unet():
    """Linear layers and the decoder's convolutions start as documented."""
    net = build('TransUNet', arch='compact', img_size=(32, 32))
    net.init_weights()
    weight = net.layers[0].ffn.layers[0][0].weight
    assert 0.015 < float(weight.std()) < 0.025
    conv = net.decoder[0].convs[0].conv.weight
    assert float(conv.std()) == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.05)
    assert float(net.resnet.layer1[0].norm3.weight.abs().max()) == 0


@pytest.mark.parametrize(('cfg', 'message'), [
    (dict(type='UNetPlusPlus', num_rows=1), 'num_rows=1'),
    (dict(type='AttentionUNet', num_levels=1), 'num_levels=1'),
    (dict(type='TransUNet', arch='huge'), r"arch='huge', expected .*base.*compact")])
def test_errors(cfg, message):
    with pytest.raises(ValueError, match=message):
        build(**cfg)


@pytest.mark.parametrize('name', ['unet_plus_plus', 'attention_unet', 'trans_unet'])
def test_examples(name):
    module = importlib.import_module(f'{mff_metal.rivals.__name__}.{name}')
    result = doctest.testmod(module)
    assert (result.failed, result.attempted) == (0, 3)
