"""Small networks and made-up data to distil with; test files read it by runpy.

The teacher has dropout, drop path, BatchNorm with a history and an in-place ReLU,
so that a teacher in training mode and records that are written over would show.
"""

import contextlib
import logging
import uuid

import cv2
import numpy as np
import pytest
import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import DropPath
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

import robust_training  # noqa: F401 - as the base configs do

# imported from where MMRazor has been made to import
from fastsegformer_mm.distillation.algorithms.multi_resolution_distill import (
    MODELS as RAZOR_MODELS,
)
from fastsegformer_mm.distillation.algorithms.multi_resolution_distill import (
    MultiResolutionDistill,
)

CLASSES = ('background', 'crack', 'ulcer', 'scar')
PALETTE = [[0, 0, 0], [200, 40, 40], [40, 200, 40], [40, 40, 200]]
PREPROCESSOR = dict(
    type='SegDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True,
    pad_val=0, seg_pad_val=255, size_divisor=32)


@MODELS.register_module(force=True)
class TinyBackbone(BaseModule):
    """Maps of strides 2 and 4."""

    def __init__(self, widths, norm='BN', drop=0.0):
        super().__init__()
        first, second = widths
        norm_cfg = dict(type='GN', num_groups=2) if norm == 'GN' else dict(type=norm)
        self.stem = ConvModule(3, first, 3, 2, 1, norm_cfg=norm_cfg)
        self.project = nn.Conv2d(first, second, 3, 2, 1)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Sequential(nn.Dropout(drop), DropPath(drop))

    def forward(self, x):
        first = self.stem(x)
        return first, self.drop(self.relu(self.project(first)))


def network(widths, norm='BN', drop=0.0, classes=4, preprocessor=None, **kwargs):
    """Config of a segmentor."""
    return dict(
        type='EncoderDecoder',
        _scope_='mmseg',
        data_preprocessor={**PREPROCESSOR, **(preprocessor or {})},
        backbone=dict(type='TinyBackbone', widths=widths, norm=norm, drop=drop),
        decode_head=dict(
            type='FCNHead', in_channels=widths[1], in_index=1, channels=8,
            num_convs=1, concat_input=False, dropout_ratio=drop, num_classes=classes,
            norm_cfg=dict(type='GN', num_groups=2) if norm == 'GN' else dict(type=norm),
            align_corners=False,
            loss_decode=dict(type='CrossEntropyLoss', loss_weight=1.0)),
        train_cfg=dict(),
        test_cfg=dict(mode='whole'), **kwargs)


def student(**kwargs):
    return network((4, 8), **kwargs)


def teacher(**kwargs):
    return network((6, 12), **{'drop': 0.3, **kwargs})


def pair(recorder, connector=None, **where):
    """The arguments of a loss on what both record under one name."""
    s, t = ({'recorder': recorder, 'from_student': f, **where} for f in (True, False))
    return dict(preds_S={**s, 'connector': connector} if connector else s, preds_T=t)


def distiller(**changes):
    """Three pairs: two maps of the backbone, with connectors, and the logits."""
    recorders = dict(
        backbone=dict(type='ModuleOutputs', source='backbone'),
        logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
    connector = dict(type='ConvModuleConnector', act_cfg=None)
    return dict(
        dict(
            type='ConfigurableDistiller',
            student_recorders=recorders,
            teacher_recorders=recorders,
            connectors=dict(
                first=dict(connector, in_channel=4, out_channel=6),
                second=dict(connector, in_channel=8, out_channel=12)),
            distill_losses=dict(
                loss_first=dict(type='NFDLoss', loss_weight=5.0),
                loss_second=dict(type='NFDLoss', loss_weight=2.5),
                loss_logits=dict(type='PKLLoss', loss_weight=0.5)),
            loss_forward_mappings=dict(
                loss_first=pair('backbone', 'first', data_idx=0),
                loss_second=pair('backbone', 'second', data_idx=1),
                loss_logits=pair('logits'))),
        **changes)


def one_pair(source_s, source_t, connector=None):
    """A distiller of one pair of modules, and a connector for the first width."""
    kind = dict(type='ModuleOutputs')
    connectors = {}
    if connector:
        connectors['c'] = dict(type='ConvModuleConnector', **connector)
    return distiller(
        student_recorders=dict(map=dict(kind, source=source_s)),
        teacher_recorders=dict(map=dict(kind, source=source_t)),
        connectors=connectors,
        distill_losses=dict(loss_map=dict(type='NFDLoss')),
        loss_forward_mappings=dict(loss_map=pair('map', connector and 'c')))


def model_cfg(**changes):
    """The distillation of the tiny student at 32x32 by the teacher at 64x64."""
    return dict(
        dict(
            type='MultiResolutionDistill', _scope_='mmrazor', architecture=student(),
            teacher=teacher(), distiller=distiller(), student_size=32,
            allow_random_teacher=True),
        **changes)


def build(**changes):
    """It, in training mode, its teacher's BatchNorms with a history of their own."""
    model = RAZOR_MODELS.build(model_cfg(**changes))
    assert isinstance(model, MultiResolutionDistill)
    give_history(model.teacher.network)
    return model.train()


def give_history(net):
    """Running statistics and affine weights as after a training."""
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_var, norm.weight.data):
                tensor.uniform_(0.5, 1.5)
            for tensor in (norm.running_mean, norm.bias.data):
                tensor.normal_(0, 0.2)


def save_teacher(path, classes=CLASSES, **kwargs):
    """A teacher's checkpoint, and the network that it is of."""
    net = MODELS.build(teacher(**kwargs))
    net.init_weights()
    give_history(net)
    meta = dict(dataset_meta=dict(classes=classes)) if classes else {}
    torch.save(dict(meta=meta, state_dict=net.state_dict()), path)
    return net.eval()


def batch(images=2, size=64, seed=0):
    """What a data loader gives: uint8 images and labels of 64x64."""
    generator = torch.Generator().manual_seed(seed)
    height, width = size if isinstance(size, tuple) else (size, size)

    def draw(high, channels, **kwargs):
        return torch.randint(
            high, (channels, height, width), generator=generator, **kwargs)

    return dict(
        inputs=[draw(256, 3, dtype=torch.uint8) for _ in range(images)],
        data_samples=[
            SegDataSample(gt_sem_seg=PixelData(data=draw(4, 1)))
            for _ in range(images)])


def prepared(model, **kwargs):
    return model.data_preprocessor(batch(**kwargs), True)


def losses(model, **kwargs):
    return model(**prepared(model, **kwargs), mode='loss')


def total(found):
    return sum(v for k, v in found.items() if 'loss' in k)


def weights(model):
    return {k: v.detach().clone() for k, v in model.named_parameters()}


def same(a, b):
    """Whether two dicts of tensors are the same to the bit."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@contextlib.contextmanager
def seen(module):
    """The first input of each call of a module."""
    found = []
    handle = module.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    yield found
    handle.remove()


@contextlib.contextmanager
def messages(logger=None):
    """What is logged within."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = logger or MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def write_data(root, train=4, val=3):
    """Images of 64x64 whose colours tell the class, with some noise."""
    rng = np.random.default_rng(0)
    for split, count in (('train', train), ('val', val)):
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            label = np.repeat(np.repeat(rng.integers(0, 4, (4, 4)), 16, 0), 16, 1)
            image = np.array(PALETTE)[label] + rng.integers(0, 50, (64, 64, 3))
            for folder, array in (('images', image), ('labels', label)):
                cv2.imwrite(str(root / folder / split / f'{i}.png'),
                            array.astype(np.uint8))
    return root


def runner_cfg(data, work_dir, iters=2, by_epoch=False, **changes):
    """A training of the distillation: no augmentation, no shuffling, one process."""
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    small = dict(type='Resize', scale=(32, 32), keep_ratio=False)
    pack = dict(type='PackSegInputs')

    def loader(split, batch_size, pipeline, sampler='DefaultSampler'):
        return dict(
            batch_size=batch_size, num_workers=0,
            sampler=dict(type=sampler, shuffle=False),
            dataset=dict(
                type='BaseSegDataset', data_root=str(data), img_suffix='.png',
                serialize_data=False,
                data_prefix=dict(
                    img_path=f'images/{split}', seg_map_path=f'labels/{split}'),
                metainfo=dict(classes=CLASSES, palette=PALETTE),
                pipeline=pipeline))

    # the loop of iterations sleeps for seconds where a finite one ends
    train_sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    val = loader('val', 1, [load[0], small, load[1], pack])
    train_cfg = (
        dict(by_epoch=True, max_epochs=iters) if by_epoch else
        dict(type='IterBasedTrainLoop', max_iters=iters))
    return Config(dict(
        dict(
            default_scope='mmseg', work_dir=str(work_dir),
            experiment_name=uuid.uuid4().hex, log_level='INFO',
            randomness=dict(seed=0), model=model_cfg(),
            train_dataloader=loader('train', 2, [*load, pack], train_sampler),
            val_dataloader=val, test_dataloader=val,
            val_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
            train_cfg=dict(train_cfg, val_interval=iters), val_cfg={}, test_cfg={},
            optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.01)),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(
                    type='CheckpointHook', by_epoch=by_epoch, interval=1))),
        **changes))


def runner(*args, **kwargs):
    return Runner.from_cfg(runner_cfg(*args, **kwargs))


@pytest.fixture(autouse=True)
def set_up(monkeypatch):
    """Inputs this small gain nothing from threads, and lose where CPUs are shared.

    Nobody reads the configs that a run writes down, and formatting one takes longer
    than a training here.
    """
    init_default_scope('mmseg')
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: '# not formatted'))
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
