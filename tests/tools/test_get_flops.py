import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine import Config
from mmseg.registry import MODELS
from torch import nn
from torch.nn import functional as F

from fastsegformer_mm.utils import MacCounter, inference_shape, measure

TESTS = Path(__file__).parents[1]
TOOL = TESTS.parent / 'tools/analysis_tools/get_flops.py'
networks = SimpleNamespace(**runpy.run_path(str(TESTS / 'golden/networks.py')))

SEGMENTOR = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNetV1c', depth=18, norm_cfg=dict(type='SyncBN'), frozen_stages=1
    ),
    decode_head=dict(
        type='FCNHead',
        in_channels=512,
        channels=16,
        num_convs=1,
        kernel_size=1,
        concat_input=False,
        num_classes=4,
    ),
    auxiliary_head=dict(
        type='FCNHead',
        in_channels=256,
        channels=256,  # as it comes in, without a convolution
        in_index=2,
        num_convs=0,
        concat_input=False,
        num_classes=4,
    ),
    test_cfg=dict(mode='whole'),
)


@pytest.mark.parametrize(
    ('name', 'size', 'parameters', 'gmacs'),
    [
        ('fastsegformer_e', 224, 5_013_044, 0.80),
        ('fastsegformer_e_ppm_noirb', 224, 4_482_836, 0.71),
        ('fastsegformer_e_ppm', 224, 4_494_324, 0.78),
        ('fastsegformer_e_msp_noirb', 224, 5_001_556, 0.74),
        ('fastsegformer_p', 224, 14_891_940, 2.70),
        ('fastsegformer_p_ppm_noirb', 224, 13_547_460, 2.56),
        ('fastsegformer_p_ppm', 224, 13_564_324, 2.63),
        ('fastsegformer_p_msp_noirb', 224, 14_875_076, 2.63),
        ('fastsegformer_s24', 224, 28_332_484, 26.96),
        ('fastsegformer_s36', 224, 43_120_708, 28.80),
        ('swin_t_att_unet', 224, 49_229_322, 14.52),
        ('swin_t_att_unet', 512, 49_229_322, 77.80),
    ],
)
def test_published_figures(name, size, parameters, gmacs):
    """The layers alone, to the last digit that was published."""
    result = measure(networks.build(name), (size, size))
    assert result.total.parameters == parameters
    assert round(result.total.layer_macs / 1e9, 2) == gmacs
    assert result.auxiliary_parameters == 0


def test_attention_by_hand():
    """EfficientFormerV2-S0 at 224, and Swin-T."""
    result = measure(networks.build('fastsegformer_e'), (224, 224))
    # 8 heads; key dimension and value dimension; queries times keys. Stage 3
    # attends on 7x7, as does stage 4; the down-sampling has 14x14 keys
    block = 8 * (32 + 128) * 49 * 49
    strided = 8 * (16 + 64) * 49 * 196
    backbone = result.parts[0]
    assert backbone.name == 'backbone'
    assert backbone.attention_macs == 4 * block + strided
    assert result.total.attention_macs == backbone.attention_macs
    assert result.total.macs == result.total.layer_macs + backbone.attention_macs

    result = measure(networks.build('swin_t_att_unet'), (224, 224))
    # windows of 7x7: 49 keys for each pixel, queries by keys and keys by values
    pixels = [56 * 56, 28 * 28, 14 * 14, 7 * 7]
    expected = sum(
        depth * 2 * n * 49 * 96 * 2**i
        for i, (depth, n) in enumerate(zip((2, 2, 6, 2), pixels))
    )
    assert result.total.attention_macs == expected


def test_parts():
    result = measure(networks.build('fastsegformer_e'), (224, 224))
    names = [part.name.removeprefix('decode_head.') for part in result.parts]
    assert names == [
        'backbone',
        'stem',
        'bottleneck',
        'pyramid',
        'fusion',
        'classifier',
        'branch',
        'conv_seg',
        '(between the parts)',
    ]
    parts = dict(zip(names, result.parts))
    assert parts['stem'].parameters == 176 * 128 + 2 * 128
    assert parts['stem'].weight_macs == 176 * 128 * 49
    assert parts['stem'].light_macs == 4 * 128 * 49
    assert parts['conv_seg'].weight_macs == 32 * 4 * 224**2
    # between the branch and conv_seg, the map is doubled
    assert parts['(between the parts)'].light_macs == 11 * 32 * 224**2
    assert parts['(between the parts)'].parameters == 0

    teacher = measure(networks.build('swin_t_att_unet'), (64, 64))
    names = [part.name for part in teacher.parts][:4]
    heads = ['decode_head.bottleneck', 'decode_head.decoder', 'decode_head.conv_seg']
    assert names == ['backbone', *heads]


def test_auxiliary_heads_stand_apart():
    model = MODELS.build(SEGMENTOR)
    result = measure(model, (64, 96))
    assert result.auxiliary_parameters == 256 * 4 + 4
    assert all('auxiliary' not in part.name for part in result.parts)
    every = sum(p.numel() for p in model.parameters())
    # frozen parameters are counted like the others
    assert any(not p.requires_grad for p in model.parameters())
    assert result.total.parameters == every - (256 * 4 + 4)
    without = MODELS.build({k: v for k, v in SEGMENTOR.items() if k[0] != 'a'})
    assert measure(without, (64, 96)).total == result.total
    assert result.total.weight_macs > 0


def test_leaves_the_model_as_it_was():
    model = MODELS.build(SEGMENTOR)
    measure(model, (64, 64))
    hooks = [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]
    assert hooks == []
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in model.modules())


def test_cascade():
    head = dict(SEGMENTOR['decode_head'], norm_cfg=dict(type='BN'))
    ocr = dict(
        type='OCRHead', in_channels=512, channels=16, ocr_channels=8, num_classes=4,
        norm_cfg=dict(type='BN'),
    )  # fmt: skip
    model = MODELS.build(
        dict(
            type='CascadeEncoderDecoder',
            num_stages=2,
            backbone=dict(type='ResNetV1c', depth=18),
            decode_head=[head, ocr],
            test_cfg=dict(mode='whole'),
        )
    )
    result = measure(model, (64, 64))
    names = {part.name for part in result.parts}
    assert {'decode_head.0.conv_seg', 'decode_head.1.bottleneck'} <= names
    # on a map of 2x2, 4 classes: gather 16 channels by class, then attend to the
    # classes with 8 channels, query with key and attention with value
    assert result.total.attention_macs == 4 * 4 * 16 + 2 * (4 * 4 * 8)


def count(module, *inputs):
    counter = MacCounter(module, {'all': module})
    with counter.counting():
        module.eval()(*inputs)
    return (
        counter.weight_macs['all'],
        counter.light_macs['all'],
        counter.attention_macs['all'],
    )


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


MAP = (1, 6, 5, 8)


@pytest.mark.parametrize(
    ('module', 'shape', 'weight', 'light'),
    [
        (nn.Conv2d(6, 4, 3, padding=1, groups=2), MAP, 4 * 3 * 9 * 40, 0),
        (nn.ConvTranspose2d(6, 4, 2, stride=2), MAP, 6 * 4 * 4 * 40, 0),
        (nn.Linear(8, 3), MAP, 8 * 3 * 30, 0),
        (nn.Linear(8, 3, bias=False), MAP, 8 * 3 * 30, 0),
        # a transposed map, for which a linear layer becomes another operator
        (
            nn.Sequential(Call(lambda x: x.transpose(1, 3)), nn.Linear(6, 3, False)),
            MAP,
            6 * 3 * 40,
            0,
        ),
        (nn.BatchNorm2d(6), MAP, 0, 4 * 240),
        (nn.BatchNorm2d(6, affine=False), MAP, 0, 2 * 240),
        (nn.LayerNorm(8), MAP, 0, 4 * 240),
        (nn.InstanceNorm2d(6), MAP, 0, 2 * 240),
        (nn.GroupNorm(2, 6), MAP, 0, 0),
        (nn.AvgPool2d(2, 2), (1, 6, 4, 8), 0, 6 * 8),
        (nn.AdaptiveAvgPool2d(1), MAP, 0, 240 + 6),
        (nn.Softmax(-1), MAP, 0, 30 * (3 * 8 - 1)),
        (nn.ReLU(), MAP, 0, 0),
        (nn.Upsample(scale_factor=2), MAP, 0, 4 * 240),
        (nn.Upsample(scale_factor=2, mode='bilinear'), MAP, 0, 11 * 4 * 240),
        (nn.Upsample((9, 15), mode='bilinear'), MAP, 0, 11 * 6 * 9 * 15),
        (nn.Upsample(scale_factor=4, mode='bilinear'), MAP, 0, 0),
        (nn.Upsample((5, 8), mode='bilinear'), MAP, 0, 0),
    ],
)
def test_layers_by_hand(module, shape, weight, light):
    assert count(module, torch.rand(shape)) == (weight, light, 0)


def test_all_forms_of_attention_are_seen():
    tokens, width = 5, 8
    products = 2 * tokens * tokens * width
    x = torch.rand(1, tokens, width)
    attention = nn.MultiheadAttention(width, 2, batch_first=True)
    layers = 4 * width * width * tokens
    # PyTorch would compute this in one fused operator
    assert count(attention, x, x, x) == (layers, 0, products)
    fused = Call(lambda x: F.scaled_dot_product_attention(x, x, x))
    assert count(fused, x) == (0, 0, products)


def test_unsuitable_input():
    model = networks.build('fastsegformer_e')
    model.decode_head.stem = nn.Conv2d(9, 128, 1)
    with pytest.raises(RuntimeError, match='does not run on an input of 32x64 pixels'):
        measure(model, (32, 64))


@pytest.mark.parametrize(
    ('cfg', 'shape', 'source'),
    [
        (dict(), (224, 224), 'the default'),
        (dict(crop_size=(64, 96)), (64, 96), 'crop_size'),
        (
            dict(test_pipeline=[dict(type='LetterBox', size=(64, 96))]),
            (64, 96),
            "test_pipeline's LetterBox",
        ),
        (
            dict(
                test_dataloader=dict(
                    dataset=dict(pipeline=[dict(type='Resize', scale=(96, 64))])
                )
            ),
            (64, 96),
            "test_pipeline's Resize",
        ),
        (
            dict(
                test_pipeline=[dict(type='Resize', scale=(9, 9), keep_ratio=True)],
                crop_size=(64, 96),
            ),
            (64, 96),
            'crop_size',
        ),
    ],
)
def test_inference_shape(cfg, shape, source):
    assert inference_shape(Config(cfg)) == (shape, source)


def run_tool(monkeypatch, *args):
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, args)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise


def test_the_tool(tmp_path, monkeypatch, capsys):
    config = tmp_path / 'config.py'
    Config(dict(model=SEGMENTOR, crop_size=(64, 96))).dump(config)
    run_tool(monkeypatch, config)
    out = capsys.readouterr().out
    total = measure(MODELS.build(SEGMENTOR), (64, 96)).total
    assert 'input 64x96 (from crop_size), batch 1' in out
    row = next(line for line in out.splitlines() if line.startswith('| total'))
    cells = [cell.strip() for cell in row.strip('|').split('|')]
    assert cells == [
        'total',
        f'{total.parameters:,}',
        f'{total.weight_macs / 1e9:.3f}',
        f'{total.layer_macs / 1e9:.3f}',
        f'{total.macs / 1e9:.3f}',
    ]
    assert 'training only and are not in the table: 1,028 parameters' in out

    run_tool(monkeypatch, config, '--shape', 32)
    assert 'input 32x32 (from --shape)' in capsys.readouterr().out
    options = ['--cfg-options', 'model.decode_head.num_classes=9']
    run_tool(monkeypatch, config, '--shape', 32, 64, *options)
    out = capsys.readouterr().out
    assert 'input 32x64 (from --shape)' in out
    assert f'{total.parameters + 5 * 17:,}' in out
    with pytest.raises(SystemExit):
        run_tool(monkeypatch, config, '--shape', 3, 32, 64)
    assert '--shape takes H W or one positive number' in capsys.readouterr().err
