"""A small network with statistics like a trained one's, its config and frames."""

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from fastsegformer_mm.datasets.transforms.letter_box import LETTER_BOX_META_KEYS
from fastsegformer_mm.deploy.network import load_network

SIZE = (64, 64)
# test pipelines by how they bring a frame to size
RESIZES = {
    'letterbox': dict(type='LetterBox', size=SIZE),
    'letterbox_cv2': dict(
        type='LetterBox', size=SIZE, pad_val=90, interpolation='bilinear', backend='cv2'
    ),
    'stretch': dict(type='Resize', scale=SIZE, keep_ratio=False),
    'keep_ratio': dict(type='Resize', scale=(96, 64), keep_ratio=True),
    'none': None,
}


def make_config(resize='letterbox', align_corners=True, classes=4, divisor=None):
    """A whole config; one class stands for one channel with a threshold."""
    channels = dict(num_classes=classes)
    if classes == 1:
        channels = dict(num_classes=2, out_channels=1, threshold=0.4)
    step = RESIZES[resize]
    meta = (
        dict(meta_keys=LETTER_BOX_META_KEYS) if resize.startswith('letterbox') else {}
    )
    pipeline = [
        dict(type='LoadImageFromFile'),
        *([dict(step)] if step else []),
        dict(type='LoadAnnotations'),
        dict(type='PackSegInputs', **meta),
    ]
    preprocessor = dict(
        type='SegDataPreProcessor',
        mean=[120.0, 110.0, 100.0],
        std=[60.0, 50.0, 40.0],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
    )
    if divisor:
        preprocessor['test_cfg'] = dict(size_divisor=divisor)
    return Config(
        dict(
            default_scope='mmseg',
            crop_size=SIZE,
            model=dict(
                type='EncoderDecoder',
                data_preprocessor=preprocessor,
                backbone=dict(
                    type='ResNetV1c',
                    depth=18,
                    base_channels=4,
                    strides=(1, 2, 1, 1),
                    dilations=(1, 1, 2, 4),
                    norm_cfg=dict(type='BN'),
                ),
                decode_head=dict(
                    type='FCNHead',
                    in_channels=32,
                    in_index=3,
                    channels=8,
                    num_convs=1,
                    concat_input=False,
                    align_corners=align_corners,
                    norm_cfg=dict(type='BN'),
                    loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=classes == 1),
                    **channels,
                ),
                test_cfg=dict(mode='whole'),
            ),
            test_pipeline=pipeline,
            test_dataloader=dict(
                dataset=dict(type='NavelOrangeDataset', pipeline=pipeline)
            ),
        ),
    )


def as_trained(network, seed=0):
    """Weights and BatchNorm statistics that hide no error, drawn in place."""
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if value.dim() > 1:
            spread = (2.0 / value[0].numel()) ** 0.5
            value.copy_(spread * torch.randn(value.shape, generator=generator))
        elif key.endswith(('running_var', 'weight')):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif value.is_floating_point():
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return network


def make_network(cfg=None, seed=0):
    """(DeployNetwork, ModelCard) of a config."""
    network, card = load_network(cfg or make_config(), allow_random=True)
    as_trained(network.segmentor, seed)
    return network, card


def small_network():
    """From image to logits like a DeployNetwork, converted in no time."""
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.GELU(),
        nn.Conv2d(8, 4, 1),
        nn.Upsample(scale_factor=2, mode='bilinear', align_corners=True),
    )
    return as_trained(network).eval()


def make_segmentor(cfg):
    """MMSegmentation's own network of a config, with the weights of `make_network`."""
    from mmseg.registry import MODELS

    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    model.cfg = cfg
    as_trained(model)
    return model.eval()


def frame(height=96, width=128, seed=0):
    """A uint8 BGR frame with shades, edges and grain, as photographs have them."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    centre = width // 3, height // 2
    cv2.circle(image, centre, min(height, width) // 5, (10, 120, 240), -1)
    grain = rng.normal(0, 6, image.shape)
    return np.clip(image + grain, 0, 255).astype(np.uint8)
