"""FastSegFormerHead in the ways MMSegmentation uses a segmentor."""

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmengine.utils import import_modules_from_strings
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

# as custom_imports does in a config
import_modules_from_strings('fastsegformer_mm')

BACKBONES = {
    'ResNet-18': (
        {'type': 'ResNetV1c', 'depth': 18, 'base_channels': 16, 'stem_channels': 16},
        [16, 32, 64, 128],
    ),
    'MiT-B0': (
        {
            'type': 'MixVisionTransformer',
            'embed_dims': 32,
            'num_layers': [2, 2, 2, 2],
            'num_heads': [1, 2, 5, 8],
        },
        [32, 64, 160, 256],
    ),
    'MobileNetV2': (
        {'type': 'MobileNetV2', 'out_indices': (1, 2, 4, 6)},
        [24, 32, 96, 320],
    ),
}
PREPROCESSOR = {
    'type': 'SegDataPreProcessor',
    'mean': [0, 0, 0],
    'std': [255, 255, 255],
    'bgr_to_rgb': True,
    'pad_val': 0,
    'seg_pad_val': 255,
    'size_divisor': 1,
}
PIPELINE = [
    {'type': 'LoadImageFromFile'},
    {'type': 'Resize', 'scale': (96, 64), 'keep_ratio': False},
    {'type': 'PackSegInputs'},
]
SLIDE = {'mode': 'slide', 'crop_size': (48, 64), 'stride': (32, 40)}


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def model_cfg(backbone='ResNet-18', branch=True, pyramid='msp', **kwargs):
    backbone, widths = BACKBONES[backbone]
    model = {
        'type': 'EncoderDecoderWithImage',
        'data_preprocessor': PREPROCESSOR,
        'backbone': backbone,
        'decode_head': {
            'type': 'FastSegFormerHead',
            'in_channels': widths + ([3] if branch else []),
            'channels': 32,
            'stem_channels': 16,
            'bottleneck_channels': [16],
            'num_blocks': [1],
            'pyramid': pyramid,
            'branch_channels': 8 if branch else None,
            'num_classes': 4,
        },
        'train_cfg': {},
        'test_cfg': {'mode': 'whole'},
        **kwargs,
    }
    return ConfigDict(model)


def config(**kwargs):
    return Config(
        {
            'default_scope': 'mmseg',
            'model': model_cfg(**kwargs),
            'test_pipeline': PIPELINE,
            'test_dataloader': {
                'dataset': {'type': 'BaseSegDataset', 'pipeline': PIPELINE}
            },
            'visualizer': {
                'type': 'SegLocalVisualizer',
                'vis_backends': [{'type': 'LocalVisBackend'}],
            },
        }
    )


def batch_of(count, height, width):
    """A batch as the data loader hands it over, all labels valid."""
    samples = []
    for _ in range(count):
        sample = SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 4, (1, height, width)))
        )
        shape = (height, width)
        sample.set_metainfo({'ori_shape': shape, 'img_shape': shape, 'img_path': 'x'})
        samples.append(sample)
    images = [torch.randint(0, 256, (3, height, width)).byte() for _ in range(count)]
    return {'inputs': images, 'data_samples': samples}


def train_step(model, batch):
    data = model.data_preprocessor(batch, training=True)
    loss, logs = model.parse_losses(model(**data, mode='loss'))
    loss.backward()
    return loss, logs


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('branch', [True, False])
def test_any_backbone_of_strides_4_to_32(backbone, branch):
    model = MODELS.build(model_cfg(backbone, branch))
    model.init_weights()
    loss, logs = train_step(model.train(), batch_of(2, 64, 64))
    # 4 classes, a classifier of small weights
    assert 1 < loss.item() < 2
    assert 'decode.acc_seg' in logs
    assert all(p.grad is not None for p in model.decode_head.parameters())

    # neither odd nor a multiple of 32
    model.eval()
    for size in ((50, 83), (65, 33)):
        (result,) = model.test_step(batch_of(1, *size))
        assert result.seg_logits.data.shape == (4, *size)
        assert result.pred_sem_seg.data.shape == (1, *size)
        assert result.seg_logits.data.isfinite().all()


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('pyramid', ['msp', 'ppm'])
def test_batch_of_one_in_training(backbone, pyramid):
    model = MODELS.build(model_cfg(backbone, pyramid=pyramid)).train()
    loss, _ = train_step(model, batch_of(1, 64, 96))
    assert loss.isfinite()


@pytest.mark.parametrize('branch', [True, False])
def test_slide_inference(branch):
    model = MODELS.build(model_cfg(branch=branch, test_cfg=SLIDE)).eval()
    batch = batch_of(1, 70, 90)
    (result,) = model.test_step(batch)
    logits = result.seg_logits.data
    assert logits.shape == (4, 70, 90)

    # the corner that one window alone covers is what that window gives
    model.test_cfg = ConfigDict(mode='whole')
    crop = (batch['inputs'][0].flip(0)[None] / 255)[..., :48, :64]
    meta = {'ori_shape': (48, 64), 'img_shape': (48, 64)}
    with torch.no_grad():
        expected = model.encode_decode(crop, [meta])[0]
    torch.testing.assert_close(logits[:, :22, :26], expected[:, :22, :26])


def test_test_time_augmentation():
    tta = MODELS.build({'type': 'SegTTAModel', 'module': model_cfg()}).eval()
    plain, flipped = batch_of(1, 64, 96), batch_of(1, 64, 96)
    flipped['inputs'] = [plain['inputs'][0].flip(2)]
    flipped['data_samples'][0].set_metainfo(
        {'flip': True, 'flip_direction': 'horizontal'}
    )
    # centred logits, so that every class is predicted somewhere
    (result,) = tta.module.test_step(plain)
    tta.module.decode_head.conv_seg.bias.data -= result.seg_logits.data.mean((1, 2))
    logits = []
    for batch in (plain, flipped):
        (result,) = tta.module.test_step(batch)
        logits.append(result.seg_logits.data)
    (merged,) = tta.test_step(
        {key: [plain[key], flipped[key]] for key in ('inputs', 'data_samples')}
    )
    expected = sum(x.softmax(0) for x in logits).argmax(0)
    assert len(expected.unique()) == 4
    assert torch.equal(merged.pred_sem_seg.data, expected[None])


def test_init_model_and_inference_model():
    model = init_model(config(), device='cpu')
    image = np.random.default_rng(0).integers(0, 256, (50, 81, 3), np.uint8)
    result = inference_model(model, image)
    assert result.pred_sem_seg.data.shape == (1, 50, 81)
    assert result.seg_logits.data.shape == (4, 50, 81)


def test_inferencer():
    inferencer = MMSegInferencer(
        config(), device='cpu', classes=tuple('abcd'), palette=[[0, 0, 0]] * 4
    )
    images = [np.zeros((50, 81, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
    result = inferencer(images, show=False)
    assert [p.shape for p in result['predictions']] == [(50, 81), (64, 64)]


@pytest.mark.parametrize('pyramid', ['msp', 'ppm'])
def test_mixed_precision(pyramid):
    model = MODELS.build(model_cfg(pyramid=pyramid)).train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss, _ = train_step(model, batch_of(2, 64, 64))
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in model.decode_head.parameters())

    model.eval()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        full = model(image)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            mixed = model(image)
    assert (mixed - full).abs().max() < 0.05 * full.abs().max()


def test_sync_bn_there_and_back():
    model = MODELS.build(model_cfg(pyramid='ppm')).eval()
    image = torch.rand(1, 3, 64, 64)
    before = model(image)
    model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules())
    # before torch 2.3 the conversion forgets the evaluation mode
    model = revert_sync_batchnorm(model).eval()
    assert not any(isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules())
    torch.testing.assert_close(model(image), before)
    loss, _ = train_step(model.train(), batch_of(1, 64, 64))
    assert loss.isfinite()


def test_teacher_on_swin_at_odd_sizes():
    model = model_cfg()
    model['backbone'] = {
        'type': 'SwinLastNorm',
        'embed_dims': 16,
        'depths': (1, 1, 1, 1),
        'num_heads': (1, 2, 4, 8),
    }
    model['decode_head'] = {
        'type': 'AttUNetHead',
        'in_channels': [16, 32, 64, 128, 3],
        'bottleneck_channels': 64,
        'decoder_channels': (32, 16, 16, 8),
        'skip_channels': (16, 8, 8, None),
        'num_classes': 4,
    }
    model = MODELS.build(model)
    model.init_weights()
    loss, _ = train_step(model.train(), batch_of(1, 65, 99))
    assert loss.isfinite()
    (result,) = model.eval().test_step(batch_of(1, 65, 99))
    assert result.seg_logits.data.shape == (4, 65, 99)
