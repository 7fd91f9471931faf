"""The networks of the paper, from their options, to the last parameter."""

import pytest
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

# as custom_imports does in a config
import_modules_from_strings(['fastsegformer_mm', 'mmpretrain.models'])

WIDTHS = {
    'EfficientFormerV2': [32, 48, 96, 176],
    'mmpretrain.PoolFormer': [64, 128, 320, 512],
    'SwinLastNorm': [96, 192, 384, 768],
}
E = {'type': 'EfficientFormerV2', 'arch': 's0'}
SWIN_T = {'type': 'SwinLastNorm'}
SWIN_S = {'type': 'SwinLastNorm', 'depths': (2, 2, 18, 2)}
LIGHT = {'branch_channels': 32}
FULL = {
    'branch_channels': 256,
    'branch_separable': False,
    'branch_refine_channels': 128,
}
PPM = {'pyramid': 'ppm'}


def poolformer(arch):
    return {'type': 'mmpretrain.PoolFormer', 'arch': arch, 'out_indices': (0, 2, 4, 6)}


def student(backbone, channels, stem, bottleneck, blocks, expand_ratio=3, **kwargs):
    image = [3] if 'branch_channels' in kwargs else []
    return {
        'type': 'EncoderDecoderWithImage',
        'backbone': backbone,
        'decode_head': {
            'type': 'FastSegFormerHead',
            'in_channels': WIDTHS[backbone['type']] + image,
            'channels': channels,
            'stem_channels': stem,
            'bottleneck_channels': bottleneck,
            'num_blocks': blocks,
            'expand_ratio': expand_ratio,
            'num_classes': 4,
            **kwargs,
        },
    }


def e(**kwargs):
    return student(E, 320, 128, [128, 160], [3, 3], **kwargs)


def p(**kwargs):
    return student(poolformer('s12'), 512, 256, [256], [2], **kwargs)


def large(backbone):
    return student(backbone, 512, 256, [256, 320, 384], [3, 3, 3], 4, **FULL)


def teacher(backbone, **kwargs):
    return {
        'type': 'EncoderDecoderWithImage',
        'backbone': backbone,
        'decode_head': {
            'type': 'AttUNetHead',
            'in_channels': [*WIDTHS['SwinLastNorm'], 3],
            'num_classes': 4,
            **kwargs,
        },
    }


SWIN_S_HEAD = {
    'decoder_channels': (512, 256, 128, 128),
    'skip_channels': (192, 96, 128, None),
}


@pytest.mark.parametrize(
    ('model', 'count'),
    [
        (e(**LIGHT), 5_013_044),
        (e(**PPM), 4_482_836),
        (e(**PPM, **LIGHT), 4_494_324),
        (e(), 5_001_556),
        (p(**LIGHT), 14_891_940),
        (p(**PPM), 13_547_460),
        (p(**PPM, **LIGHT), 13_564_324),
        (p(), 14_875_076),
        (student(poolformer('s24'), 512, 256, [256, 320], [3, 3], **FULL), 28_332_484),
        (large(poolformer('s36')), 43_120_708),
        (large(SWIN_T), 40_387_582),
        (teacher(SWIN_T), 49_229_322),
        (teacher(SWIN_S, idle_channels=64, **SWIN_S_HEAD), 71_080_826),
    ],
    ids=[
        'E',
        'E-ppm-noirb',
        'E-ppm',
        'E-noirb',
        'P',
        'P-ppm-noirb',
        'P-ppm',
        'P-noirb',
        'S24',
        'S36',
        'Swin-T',
        'Swin-T-Att-UNet',
        'Swin-S-Att-UNet',
    ],
)
def test_parameters(model, count):
    assert sum(p.numel() for p in MODELS.build(model).parameters()) == count
