import pytest
import torch
from mmcv.cnn import DepthwiseSeparableConvModule
from mmengine.model import revert_sync_batchnorm
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from fastsegformer_mm.models.layers.multi_scale_pyramid import MultiScalePyramid
from fastsegformer_mm.models.layers.pyramid_pooling import PyramidPooling

WIDTHS = [8, 12, 16, 24]
BRANCH = {'in_channels': [*WIDTHS, 3], 'branch_channels': 4}
FULL_BRANCH = {**BRANCH, 'branch_separable': False, 'branch_refine_channels': 6}


def build(**kwargs):
    options = {
        'type': 'FastSegFormerHead',
        'in_channels': WIDTHS,
        'channels': 16,
        'stem_channels': 8,
        'bottleneck_channels': [8, 12],
        'num_blocks': [2, 1],
        'num_classes': 4,
    }
    return MODELS.build({**options, **kwargs})


def maps_of(height, width, batch=2):
    """What a backbone of strides 4-32 makes of an image, and the image."""
    return [
        torch.rand(batch, c, -(-height // s), -(-width // s))
        for c, s in zip((*WIDTHS, 3), (4, 8, 16, 32, 1))
    ]


def outputs_of(head, *names):
    """A list that fills with the outputs of these modules at the forward pass."""
    outputs = []
    for name in names:
        head.get_submodule(name).register_forward_hook(
            lambda module, args, out: outputs.append(out)
        )
    return outputs


@pytest.mark.parametrize('pyramid', ['msp', 'ppm'])
@pytest.mark.parametrize('size', [(64, 64), (65, 99)])
def test_shapes(pyramid, size):
    stride_8 = tuple(-(-s // 8) for s in size)
    plain = build(pyramid=pyramid).eval()
    assert plain(maps_of(*size)).shape == (2, 4, *stride_8)

    for options in (BRANCH, FULL_BRANCH):
        head = build(pyramid=pyramid, **options).eval()
        outputs = outputs_of(head, 'pyramid', 'fusion', 'branch', 'conv_seg')
        head(maps_of(*size))
        assert [tuple(out.shape) for out in outputs] == [
            (2, 16, *(-(-s // 32) for s in size)),
            (2, 16, *stride_8),
            (2, 4, *(-(-s // 2) for s in size)),
            (2, 4, *size),
        ]


@pytest.mark.parametrize('options', [{}, BRANCH, FULL_BRANCH])
@pytest.mark.parametrize('pyramid', ['msp', 'ppm'])
@pytest.mark.parametrize('batch', [1, 3])
def test_trains_every_parameter(options, pyramid, batch):
    head = build(pyramid=pyramid, **options).train()
    labels = PixelData(data=torch.randint(0, 4, (1, 64, 96)))
    samples = [SegDataSample(gt_sem_seg=labels) for _ in range(batch)]
    losses = head.loss(maps_of(64, 96, batch), samples, None)
    assert set(losses) == {'loss_ce', 'acc_seg'}
    losses['loss_ce'].backward()
    without = [n for n, p in head.named_parameters() if p.grad is None]
    assert without == []


def test_pyramids():
    assert isinstance(build(pyramid='msp').pyramid, MultiScalePyramid)
    assert isinstance(build(pyramid='ppm').pyramid, PyramidPooling)
    assert isinstance(build().pyramid, MultiScalePyramid)


def test_bottleneck_follows_its_options():
    head = build(expand_ratio=2, bottleneck_channels=[8, 12], num_blocks=[2, 1])
    assert [block.conv[0].conv.out_channels for block in head.bottleneck] == [16] * 3
    assert [block.conv[2].conv.out_channels for block in head.bottleneck] == [8, 8, 12]
    assert [b.use_res_connect for b in head.bottleneck] == [True, True, False]


def test_branch_options():
    light, full = build(**BRANCH), build(**FULL_BRANCH)
    assert build().branch is None
    assert isinstance(light.branch.fuse, DepthwiseSeparableConvModule)
    assert light.refine is None
    assert light.conv_seg.weight.shape == (4, 4, 1, 1)
    assert full.branch.fuse.conv.weight.shape == (4, 4, 3, 3)
    assert full.refine.conv.weight.shape == (6, 4, 3, 3)
    assert full.conv_seg.weight.shape == (4, 6, 1, 1)


def test_image_reaches_the_logits():
    head = build(**BRANCH).eval()
    maps = maps_of(64, 64)
    before = head(maps)
    maps[4] = maps[4] + 1
    assert (head(maps) - before).abs().max() > 1e-3


def test_maps_at_strides_4_and_16_do_not():
    head = build().eval()
    maps = maps_of(64, 64)
    before = head(maps)
    maps[0], maps[2] = maps[0] + 1, maps[2] + 1
    assert torch.equal(head(maps), before)


def test_binary_output():
    head = build(num_classes=2, out_channels=1, threshold=0.4, **BRANCH)
    assert head.conv_seg.out_channels == 1
    assert head.eval()(maps_of(32, 32)).shape[1] == 1


@pytest.mark.parametrize('options', [{}, BRANCH])
def test_align_corners(options):
    aligned, plain = build(**options), build(align_corners=False, **options)
    assert aligned.align_corners
    plain.load_state_dict(aligned.state_dict())
    maps = maps_of(64, 64)
    assert (aligned.eval()(maps) - plain.eval()(maps)).abs().max() > 1e-4


@pytest.mark.parametrize('options', [{}, BRANCH])
def test_dropout(options):
    head = build(dropout_ratio=0.5, **options).train()
    outputs = outputs_of(head, 'dropout')
    head(maps_of(64, 64))
    # in front of the branch where there is one
    assert [out.shape[1] for out in outputs] == [16]
    assert 0.2 < (outputs[0].amax((2, 3)) == 0).float().mean() < 0.8
    assert build(dropout_ratio=0, **options).dropout is None


def test_norm_and_activation_options():
    options = {**FULL_BRANCH, 'pyramid': 'ppm'}
    head = build(norm_cfg={'type': 'GN', 'num_groups': 1}, **options)
    kinds = [type(m) for m in head.modules()]
    assert nn.GroupNorm in kinds
    assert nn.BatchNorm2d not in kinds

    head = build(act_cfg={'type': 'GELU'}, **options)
    kinds = [type(m) for m in head.modules()]
    assert nn.BatchNorm2d in kinds  # the default
    assert nn.GELU in kinds
    assert nn.ReLU not in kinds

    head = build(act_cfg=None, norm_cfg=None, **options).eval()
    x, y = maps_of(32, 32), maps_of(32, 32)
    middle = head([(a + b) / 2 for a, b in zip(x, y)])
    # without activation and normalisation all that is left is linear
    torch.testing.assert_close(middle, (head(x) + head(y)) / 2)


def test_sync_bn():
    head = build(norm_cfg={'type': 'SyncBN'}, **BRANCH)
    assert any(isinstance(m, nn.SyncBatchNorm) for m in head.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in head.modules())
    reverted = revert_sync_batchnorm(head)
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in reverted.modules())
    assert reverted.train()(maps_of(64, 64)).shape == (2, 4, 64, 64)


@pytest.mark.parametrize('options', [{}, BRANCH, FULL_BRANCH])
def test_initial_classifier(options):
    head = build(num_classes=150, **options)
    head.init_weights()
    std = head.conv_seg.weight.std().item()
    assert 0.008 < std < 0.012
    assert head.conv_seg.bias.abs().max() == 0


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'pyramid': 'aspp'}, r"one of \['msp', 'ppm'\], got 'aspp'"),
        ({'in_channels': WIDTHS[1:]}, r'4 backbone maps alone, got \[12, 16, 24\]'),
        ({'in_channels': [*WIDTHS, 3]}, '4 backbone maps alone'),
        (
            {'branch_channels': 4},
            r'the image \(3\) as the last, got \[8, 12, 16, 24\]',
        ),
        ({'in_index': [0, 1]}, r'one in_index for each .* got \[0, 1\]'),
        ({'num_blocks': [2]}, r'one length, got \[8, 12\] and \[2\]'),
        ({'branch_refine_channels': 6}, 'set branch_channels too'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        build(**options)


def test_missing_image_says_which_segmentor_to_use():
    head = build(**BRANCH)
    with pytest.raises(ValueError, match=r'EncoderDecoderWithImage.*out_indices'):
        head(maps_of(64, 64)[:4])
    # a backbone of five outputs, the last of which is no image
    with pytest.raises(ValueError, match=r'5 maps of widths \[8, 12, 16, 24, 24\]'):
        head([*maps_of(64, 64)[:4], maps_of(64, 64)[3]])


def test_wrong_widths_name_the_out_indices():
    with pytest.raises(ValueError, match=r'widths \[24, 16, 12, 8\].*out_indices'):
        build()(maps_of(64, 64)[3::-1])


def test_in_index_picks_among_more_maps():
    head = build(in_index=[1, 2, 4, 5]).eval()
    a, b, c, d, _ = maps_of(64, 64)
    other = torch.rand(2, 5, 7, 7)
    picked = head([other, a, b, other, c, d])
    torch.testing.assert_close(picked, build_like(head)([a, b, c, d]))


def build_like(head):
    twin = build().eval()
    twin.load_state_dict(head.state_dict())
    return twin
