import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import nn

WIDTHS = [8, 12, 16, 24, 3]
SWIN_S = {'decoder_channels': (16, 12, 8, 8), 'skip_channels': (6, 5, 4, None)}


def build(**kwargs):
    options = {
        'type': 'AttUNetHead',
        'in_channels': WIDTHS,
        'bottleneck_channels': 20,
        'decoder_channels': (16, 12, 8, 6),
        'skip_channels': (6, 5, 4, 3),
        'num_classes': 4,
    }
    return MODELS.build({**options, **kwargs})


def maps_of(height, width, batch=2):
    """What a backbone of strides 4-32 makes of an image, and the image."""
    return [
        torch.rand(batch, c, -(-height // s), -(-width // s))
        for c, s in zip(WIDTHS, (4, 8, 16, 32, 1))
    ]


@pytest.mark.parametrize('options', [{}, SWIN_S])
@pytest.mark.parametrize('size', [(64, 64), (65, 99)])
def test_shapes(options, size):
    head = build(**options).eval()
    shapes = []
    for module in (head.bottleneck, *head.decoder):
        module.register_forward_hook(
            lambda module, args, out: shapes.append(tuple(out.shape))
        )
    assert head(maps_of(*size)).shape == (2, 4, *size)
    widths = [20, *options.get('decoder_channels', (16, 12, 8, 6))]
    assert shapes == [
        (2, c, *(-(-side // s) for side in size))
        for c, s in zip(widths, (32, 16, 8, 4, 2))
    ]


@pytest.mark.parametrize('options', [{}, SWIN_S])
def test_every_parameter_trains(options):
    head = build(**options).train()
    head(maps_of(64, 64)).square().mean().backward()
    assert [n for n, p in head.named_parameters() if p.grad is None] == []


def test_a_level_by_hand():
    """The shallowest level, computed with plain functions from its weights."""
    head = build(norm_cfg=None).eval()
    level = head.decoder[3]
    deeper, image = torch.rand(1, 8, 4, 4), torch.rand(1, 3, 16, 16)

    def conv(module, x):
        return F.conv2d(x, module.conv.weight, module.conv.bias, padding='same')

    skip = F.max_pool2d(image, 2)
    for module in level.skip_conv[1]:
        skip = conv(module, skip).relu()
    x = conv(level.up, deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)).relu()
    weight = conv(level.gate.w_gate, x) + conv(level.gate.w_skip, skip)
    weight = conv(level.gate.psi, weight.relu()).sigmoid()
    y = torch.cat([x, conv(level.project, weight * skip)], 1)
    for module in level.conv:
        y = conv(module, y).relu()
    torch.testing.assert_close(level(deeper, image), y)


def test_biases_as_the_official_has_them():
    head = build()
    without = [
        name
        for name, module in head.named_modules()
        if isinstance(module, nn.Conv2d) and module.bias is None
    ]
    assert without == ['bottleneck.conv']


def test_gate_and_projection_options():
    assert [level.gate.psi.conv.in_channels for level in build().decoder] == [
        8,
        6,
        4,
        3,
    ]
    projections = [level.project for level in build(**SWIN_S).decoder]
    assert [p.conv.out_channels for p in projections[:3]] == [6, 5, 4]
    assert isinstance(projections[3], nn.Identity)


def test_idle_convolution_counts_but_does_nothing():
    plain, idle = build(**SWIN_S).eval(), build(idle_channels=5, **SWIN_S).eval()
    count = [sum(p.numel() for p in head.parameters()) for head in (plain, idle)]
    assert count[1] - count[0] == 5 * 5 + 5
    assert {n for n, p in idle.named_parameters() if not p.requires_grad} == {
        'idle_conv.weight',
        'idle_conv.bias',
    }
    plain.load_state_dict(idle.state_dict(), strict=False)
    maps = maps_of(64, 64)
    assert torch.equal(plain(maps), idle(maps))


def test_other_options():
    assert build().dropout is None
    head = build(
        dropout_ratio=0.2, norm_cfg={'type': 'SyncBN'}, act_cfg={'type': 'GELU'}
    )
    kinds = [type(m) for m in head.modules()]
    assert nn.Dropout2d in kinds
    assert any(issubclass(k, nn.SyncBatchNorm) for k in kinds)
    assert nn.GELU in kinds
    assert nn.ReLU not in kinds
    assert nn.BatchNorm2d not in kinds

    plain, aligned = build().eval(), build(align_corners=True).eval()
    assert not plain.align_corners
    aligned.load_state_dict(plain.state_dict())
    maps = maps_of(64, 64)
    assert (plain(maps) - aligned(maps)).abs().max() > 1e-4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'in_channels': WIDTHS[:4]}, r'the image \(3\) as the last'),
        ({'in_index': [0, 1, 2, 3]}, 'one in_index for each'),
        ({'decoder_channels': (8, 8, 8)}, r'four levels, got \[8, 8, 8\]'),
        ({'skip_channels': (8,)}, r'four levels, .*\[8\]'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_missing_image_says_which_segmentor_to_use():
    with pytest.raises(ValueError, match='EncoderDecoderWithImage'):
        build()(maps_of(64, 64)[:4])
