"""The two kinds of FastSegFormer, as small as they can be."""

import runpy
from pathlib import Path

from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

from fastsegformer_mm.deploy.network import DeployNetwork

import_modules_from_strings(['fastsegformer_mm', 'mmpretrain.models'])
trained_like = runpy.run_path(str(Path(__file__).with_name('trained_like.py')))[
    'trained_like'
]
BACKBONES = {
    'e': dict(
        type='EfficientFormerV2',
        arch=dict(
            embed_dims=[8, 10, 12, 14],
            mlp_ratios=[[2], [2], [2, 2], [2]],
            num_attention=1,
        ),
        resolution=64,
    ),
    'p': dict(
        type='mmpretrain.PoolFormer',
        arch=dict(
            layers=[1, 1, 2, 1],
            embed_dims=[8, 10, 12, 14],
            mlp_ratios=[2, 2, 2, 2],
            layer_scale_init_value=1e-5,
        ),
        out_indices=(0, 2, 4, 6),
        frozen_stages=-1,
    ),
}


def tiny(kind, **head):
    """A trained-like DeployNetwork of the kind, in float64."""
    options = dict(
        type='FastSegFormerHead',
        in_channels=[8, 10, 12, 14, 3],
        channels=16,
        stem_channels=8,
        bottleneck_channels=[12],
        num_blocks=[1],
        branch_channels=8,
        num_classes=3,
    )
    cfg = dict(
        type='EncoderDecoderWithImage',
        backbone=BACKBONES[kind],
        decode_head={**options, **head},
        test_cfg=dict(mode='whole'),
    )
    return trained_like(DeployNetwork(MODELS.build(cfg))).double()
