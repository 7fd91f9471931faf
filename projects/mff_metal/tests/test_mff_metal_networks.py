"""MFF-Metal and LMFFNet: counts, sizes, options and what they refuse."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from fastsegformer_mm.utils.complexity import measure
from mff_metal.backbones import LMFFNet, MFFMetalEncoder
from mff_metal.decode_heads import MFFMetalHead
from mff_metal.layers import AttentionDecoder

HERE = Path(__file__).parent
networks = SimpleNamespace(**runpy.run_path(str(HERE / 'official_networks.py')))
build = networks.build

# tiny, but with the published bottlenecks
TINY = {'mff_metal': (6, 12, 18, 24), 'lmffnet': (8, 24, 32)}
STRIDES = {'mff_metal': (1, 2, 4, 8), 'lmffnet': (2, 4, 8)}


def tiny(name, **options):
    return build(name, channels=TINY[name], **options)


def kinds(model):
    return {type(module) for module in model.modules()}


@pytest.mark.parametrize(
    ('name', 'channels', 'num_classes', 'parameters'),
    [
        ('mff_metal', networks.STUDENT, 4, 981_580),
        # a class more: (40 + 120) + (40 + 90) weights
        ('mff_metal', networks.STUDENT, 5, 981_580 + 290),
        ('mff_metal', networks.STUDENT, 1, 981_580 - 3 * 290),
        ('mff_metal', networks.TEACHER, 4, 34_390_390),
        ('lmffnet', (32, 64, 128), 4, 1_342_087),
        # 48 + 259 weights a class
        ('lmffnet', (32, 64, 128), 19, 1_342_087 + 15 * 307),
    ],
)
def test_parameters(name, channels, num_classes, parameters):
    with torch.device('meta'):
        model = build(name, num_classes, channels)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_complexity():
    """2.21 GMACs are published for the student at 200x200."""
    total = measure(build('mff_metal'), (200, 200)).total
    assert total.weight_macs == 2_173_509_460
    # Besides, 13.0 M values each are normalised and activated: the published figure
    # counts 2 and 1 for them, THOP, as measure() has it, 4 and none.
    values = 13_026_875
    assert round((total.weight_macs + 3 * values) / 1e9, 2) == 2.21
    assert round(total.macs / 1e9, 2) == 2.23


@pytest.mark.parametrize('size', [(64, 48), (33, 32), (37, 50), (39, 47)], ids=str)
@pytest.mark.parametrize('name', TINY)
def test_any_size(name, size):
    model = tiny(name)
    image = torch.rand(2, 3, *size)
    with torch.no_grad():
        maps = model.backbone(image)
        logits = model(image)
    assert [tuple(x.shape[2:]) for x in maps] == [
        tuple(-(-side // stride) for side in size) for stride in STRIDES[name]
    ]
    assert logits.shape == (2, 4, *size)
    # of each image by itself
    with torch.no_grad():
        alone = model(image[1:])
    assert (alone - logits[1:]).abs().max() < 1e-4 * logits.abs().max()


@pytest.mark.parametrize('name', TINY)
def test_every_parameter_learns(name):
    model = tiny(name).train()
    logits = model(torch.randn(2, 3, 39, 64))
    (logits * torch.randn_like(logits)).sum().backward()
    for key, value in model.named_parameters():
        assert value.grad is not None, key
        assert value.grad.isfinite().all(), key
        assert value.grad.abs().max() > 0, key


@pytest.mark.parametrize('name', TINY)
def test_logits_come_out_of_a_module(name):
    """What a recorder on ``decode_head.logits`` gets is what the head gives."""
    model = tiny(name)
    caught = []
    model.get_submodule('decode_head.logits').register_forward_hook(
        lambda module, inputs, output: caught.append(output)
    )
    logits = model(torch.rand(2, 3, 35, 40))
    assert len(caught) == 1
    assert caught[0] is logits
    assert logits.shape == (2, 4, 35, 40)


@pytest.mark.parametrize('name', TINY)
def test_norm_and_activation(name):
    model = tiny(name)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) > 40
    assert {norm.eps for norm in norms} == {1e-3}
    slopes = [m.num_parameters for m in model.modules() if isinstance(m, nn.PReLU)]
    # one a channel, but one for all in squeeze and excitation
    assert slopes.count(1) == len(model.backbone.fusions)
    assert sum(slopes) - slopes.count(1) == sum(norm.num_features for norm in norms)

    cfg = dict(norm_cfg=dict(type='GN', num_groups=1), act_cfg=dict(type='GELU'))
    model = tiny(name, head=cfg, **cfg)
    assert {nn.GroupNorm, nn.GELU} <= kinds(model)
    assert nn.BatchNorm2d not in kinds(model)
    # squeeze and excitation keeps its own
    slopes = [m.num_parameters for m in model.modules() if isinstance(m, nn.PReLU)]
    assert slopes == [1] * len(model.backbone.fusions)

    act_cfg = dict(type='PReLU', num_parameters=1, init=0.1)
    model = tiny(name, act_cfg=act_cfg)
    activate = model.backbone.stem[0].activate
    assert activate.weight.tolist() == [pytest.approx(0.1)]


@pytest.mark.parametrize('name', TINY)
def test_dilations(name):
    """Other bottlenecks: their number, their branches and how far they see."""
    stages = len(TINY[name]) - 1
    channels = (4, 8, 12, 16)[: stages + 1]
    model = build(name, channels=channels, dilations=[[(1, 5)]] * stages)
    assert [len(stage.blocks) for stage in model.backbone.stages] == [1] * stages
    branches = model.backbone.stages[0].blocks[0].branches
    assert [branch.conv.dilation for branch in branches] == [(1, 1), (5, 5)]
    assert branches[0].conv.groups == 2
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 4, 32, 32)


def test_published_dilations():
    blocks = [block for stage in MFFMetalEncoder.dilations for block in stage]
    expected = [(1, 2, 3)] * 6 + [(1, 4, 6)] * 2 + [(1, 8, 12)] * 2
    assert blocks == expected
    rates = [rate for stage in LMFFNet.dilations for _, rate in stage]
    assert rates == [2] * 3 + [4] * 2 + [8] * 2 + [16] * 2 + [32] * 2


@pytest.mark.parametrize('name', TINY)
def test_image_channels(name):
    model = tiny(name, image=1)
    assert model(torch.rand(1, 1, 32, 32)).shape == (1, 4, 32, 32)


@pytest.mark.parametrize('name', TINY)
def test_reduced_channels(name):
    model = tiny(name, head=dict(reduced_channels=(3, 5)))
    assert model.decode_head.channels == 8
    decoders = [m for m in model.decode_head.children() if hasattr(m, 'reduce_deep')]
    assert len(decoders) == (2 if name == 'mff_metal' else 1)
    for decoder in decoders:
        assert decoder.reduce_shallow.out_channels == 3
        assert decoder.reduce_deep.out_channels == 5
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 4, 32, 32)


@pytest.mark.parametrize('name', TINY)
def test_align_corners(name):
    image = torch.rand(1, 3, 40, 40)
    model, aligned = tiny(name), tiny(name, head=dict(align_corners=True))
    aligned.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert (model(image) - aligned(image)).abs().max() > 1e-3
    # in the decoders too, not only at the end
    pairs = [
        pair
        for pair in zip(model.decode_head.children(), aligned.decode_head.children())
        if isinstance(pair[0], AttentionDecoder)
    ]
    assert len(pairs) == (2 if name == 'mff_metal' else 1)
    for pair in pairs:
        widths = [pair[0].reduce_shallow.in_channels, pair[0].reduce_deep.in_channels]
        maps = torch.rand(1, widths[0], 8, 8), torch.rand(1, widths[1], 4, 4)
        with torch.no_grad():
            one, other = (
                decoder.gate(decoder.join(*maps), maps[1]) for decoder in pair
            )
        assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize('name', TINY)
def test_dropout(name):
    assert tiny(name).decode_head.dropout is None
    model = tiny(name, head=dict(dropout_ratio=0.5))
    outputs = []
    model.decode_head.dropout.register_forward_hook(
        lambda module, inputs, output: outputs.append(output)
    )
    model.train()(torch.rand(2, 3, 32, 32))
    # the maps that are decoded, not the stem's
    maps = list(model.decode_head.in_channels)
    decoded = maps[1:] if name == 'mff_metal' else maps[1:3]
    assert [x.shape[1] for x in outputs] == decoded
    assert (outputs[-1].amax((2, 3)) == 0).any()


def test_scales_are_weighed_by_a_softmax():
    """With one scale's classes zeroed, what is left is the other's, weighed."""
    head = MFFMetalHead([6, 12, 18, 24], num_classes=4).eval()
    maps = [
        torch.rand(2, c, 32 // s, 32 // s)
        for c, s in zip((6, 12, 18, 24), (1, 2, 4, 8))
    ]
    decoders = head.deep_decoder, head.shallow_decoder
    with torch.no_grad():
        whole = head(maps)
        weights = torch.cat(
            [head.deep_decoder(*maps[2:])[1], head.shallow_decoder(*maps[1:3])[1]], 1
        )
        assert weights.shape == (2, 2, 1, 1)
        share = weights.exp() / weights.exp().sum(1, keepdim=True)
        left = []
        for decoder in decoders:
            conv = decoder.classify.pointwise_conv.conv
            kept = conv.weight.clone()
            conv.weight.zero_()
            left.append(head(maps))
            conv.weight.copy_(kept)
    torch.testing.assert_close(left[0] + left[1], whole)
    # the shallow scale alone, at the first row's corner, where up-sampling copies
    shallow = head.shallow_decoder(*maps[1:3])[0] * share[:, 1:]
    torch.testing.assert_close(left[0][..., 0, 0], shallow[..., 0, 0])


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: tiny_encoder((6, 12, 20, 24)), r'20 channels .* multiple of 6'),
        (lambda: LMFFNet(channels=(4, 8, 14)), r'14 channels .* multiple of 4'),
        (lambda: tiny_encoder((6, 12, 18)), r'\[6, 12, 18\], .* 3 entries'),
        (lambda: LMFFNet(channels=(4, 8, 12, 16)), 'dilations have 2 entries'),
        (
            lambda: tiny_encoder(dilations=[[()]] * 3),
            r'dilations \(\); expected a multiple of 2 channels',
        ),
        (
            lambda: MFFMetalHead([6, 12, 18], num_classes=4),
            r'MFFMetalHead needs in_channels of 4 backbone maps alone, got \[6,',
        ),
        (
            lambda: tiny('lmffnet', head=dict(in_index=[0, 1])),
            r'LMFFNetHead needs one in_index for each',
        ),
        (
            lambda: tiny('mff_metal', head=dict(reduced_channels=[16])),
            r'reduced_channels are \[16\]; expected two',
        ),
    ],
)
def test_wrong_options(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def tiny_encoder(channels=(6, 12, 18, 24), **options):
    return MFFMetalEncoder(channels=channels, **options)


def test_wrong_maps():
    head = tiny('lmffnet').decode_head
    maps = [torch.rand(1, c, 8, 8) for c in head.in_channels]
    with pytest.raises(ValueError, match="type='EncoderDecoderWithImage'"):
        head(maps[:3])
    with pytest.raises(ValueError, match=r'MFFMetalHead reads maps of these widths'):
        tiny('mff_metal').decode_head(maps)
