"""Heads with boundary losses: what they get, and a training step."""

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.model import BaseModule
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS, TRANSFORMS
from mmseg.structures import SegDataSample
from torch import nn

from mff_metal.boundary_supervision import BoundarySupervision, stack_distance_maps
from mff_metal.losses import MFFBoundaryLoss

CROSS_ENTROPY = dict(type='SummedCrossEntropyLoss')
DICE = dict(type='MFFDiceLoss', loss_weight=0.5)
BOUNDARY = dict(type='MFFBoundaryLoss', loss_weight=0.01)


@MODELS.register_module(force=True)
class OneConvBackbone(BaseModule):
    """One map of stride 2."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x):
        return (self.conv(x).relu(),)


@MODELS.register_module(force=True)
class BoundaryFCNHead(BoundarySupervision, FCNHead):
    pass


@MODELS.register_module(force=True)
class RememberLoss(nn.Module):
    """Keeps the keyword arguments that the head gives."""

    loss_name = 'loss_seen'

    def forward(self, cls_score, label, **kwargs):
        self.seen = kwargs
        return cls_score.sum() * 0


def network(*losses, head='BoundaryFCNHead', **changes):
    torch.manual_seed(0)
    head = dict(
        type=head, in_channels=4, channels=4, num_classes=4, num_convs=0,
        concat_input=False, dropout_ratio=0.0, align_corners=False,
        loss_decode=list(losses) if len(losses) > 1 else losses[0], **changes)
    return MODELS.build(dict(
        type='EncoderDecoder', _scope_='mmseg',
        data_preprocessor=dict(
            type='SegDataPreProcessor', mean=[0.0] * 3, std=[255.0] * 3,
            size_divisor=32, pad_val=0, seg_pad_val=255),
        backbone=dict(type='OneConvBackbone'), decode_head=head,
        train_cfg=dict(), test_cfg=ConfigDict(mode='whole')))


def pipeline(pack='PackDistanceMap'):
    make = [dict(type='SignedDistanceMap', num_classes=4, truncate=True)]
    return [
        TRANSFORMS.build(dict(t, _scope_='mmseg'))
        for t in [*(make if pack == 'PackDistanceMap' else []), dict(type=pack)]
    ]


def batch(*sizes, pack='PackDistanceMap'):
    rng = np.random.default_rng(0)
    out = dict(inputs=[], data_samples=[])
    for i, (h, w) in enumerate(sizes):
        label = np.zeros((h, w), np.uint8)
        label[3:12, 5:20] = 1 + i
        label[0, :4] = 255
        results = dict(
            img=rng.integers(0, 255, (h, w, 3), np.uint8), gt_seg_map=label,
            seg_fields=['gt_seg_map'], img_path=f'{i}.jpg')
        for transform in pipeline(pack):
            results = transform(results)
        for key, value in results.items():
            out[key].append(value)
    return out


def losses_of(model, data):
    data = model.data_preprocessor(data, True)
    return model(**data, mode='loss')


def test_step_with_boundary_loss_on_padded_images():
    model = network(CROSS_ENTROPY, DICE, BOUNDARY)
    data = batch((24, 30), (32, 20))
    maps = [s.gt_distance_map.data.clone() for s in data['data_samples']]
    losses = losses_of(model, data)
    assert sorted(losses) == [
        'decode.acc_seg', 'decode.loss_boundary', 'decode.loss_ce', 'decode.loss_dice']

    # by hand: the maps are padded to 32x32 on the right and at the bottom
    data = model.data_preprocessor(batch((24, 30), (32, 20)), True)
    padded = torch.zeros(2, 4, 32, 32)
    padded[0, :, :24, :30] = maps[0]
    padded[1, :, :32, :20] = maps[1]
    label = torch.cat([s.gt_sem_seg.data for s in data['data_samples']])
    assert label.shape == (2, 32, 32)
    logits = model(data['inputs'], mode='tensor')
    p = nn.functional.interpolate(logits, (32, 32), mode='bilinear').softmax(1)
    inside = (label != 255)[:, None]
    expected = 0.01 * (p * padded * inside)[:, 1:].sum() / 2
    torch.testing.assert_close(losses['decode.loss_boundary'], expected)
    assert expected.abs() > 0.1

    # without it the others are the same, and maps are not needed
    plain = network(CROSS_ENTROPY, DICE, head='FCNHead')
    supervised = network(CROSS_ENTROPY, DICE)
    for other in (plain, supervised):
        less = losses_of(other, batch((24, 30), (32, 20), pack='PackSegInputs'))
        for key in ('decode.loss_ce', 'decode.loss_dice', 'decode.acc_seg'):
            torch.testing.assert_close(less[key], losses[key], rtol=0, atol=0)
        assert len(less) == 3


def test_training_lowers_the_boundary_loss():
    model = network(BOUNDARY)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    values = []
    for _ in range(15):
        losses = losses_of(model, batch((32, 32), (32, 32)))
        loss, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(losses['decode.loss_boundary'].item())
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert values[-1] < 0.1 * values[0]


def test_only_losses_that_want_maps_get_them_and_only_from_the_head():
    model = network(BOUNDARY, dict(type='RememberLoss'))
    losses_of(model, batch((32, 32)))
    boundary, other = model.decode_head.loss_decode
    assert other.seen == dict(weight=None, ignore_index=255)
    # nothing of it is left behind
    x = torch.zeros(1, 4, 8, 8)
    with pytest.raises(TypeError, match='BoundarySupervision'):
        boundary(x, torch.zeros(1, 8, 8).long())
    # nor by a call that fails
    data = batch((32, 32), pack='PackDistanceMap')
    data['data_samples'][0].gt_distance_map.data = torch.zeros(3, 32, 32)
    with pytest.raises(ValueError, match='num_classes of SignedDistanceMap'):
        losses_of(model, data)
    with pytest.raises(TypeError, match='BoundarySupervision'):
        boundary(x, torch.zeros(1, 8, 8).long())


def test_samplers_weights_and_ignore_index_reach_the_loss():
    data = batch((32, 32))
    label = data['data_samples'][0].gt_sem_seg.data
    whole = losses_of(network(BOUNDARY), data)['decode.loss_boundary']
    same = losses_of(network(BOUNDARY, ignore_index=254), batch((32, 32)))
    assert (label == 255).sum() == 4
    # ignore_index=254: the four pixels of 255 count, which are outside
    assert same['decode.loss_boundary'] > whole
    sampler = dict(type='OHEMPixelSampler', thresh=0.0, min_kept=5)
    few = losses_of(network(BOUNDARY, sampler=sampler), batch((32, 32)))
    assert few['decode.loss_boundary'].abs() < 0.2 * whole.abs()


def test_missing_maps_name_the_transforms():
    model = network(CROSS_ENTROPY, BOUNDARY)
    data = batch((32, 32), (32, 32))
    plain = batch((32, 32), (32, 32), pack='PackSegInputs')
    data['data_samples'][1] = plain['data_samples'][1]
    with pytest.raises(ValueError, match=r'1\.jpg.*SignedDistanceMap.*PackDistanceMap'):
        losses_of(model, data)
    # a head without the mixin
    with pytest.raises(TypeError, match='BoundarySupervision'):
        losses_of(network(BOUNDARY, head='FCNHead'), batch((32, 32)))


def test_predictions_need_no_maps():
    model = network(CROSS_ENTROPY, BOUNDARY).eval()
    sample = SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
    result = model(torch.rand(1, 3, 32, 32), [sample], mode='predict')
    assert result[0].pred_sem_seg.data.shape == (1, 32, 32)


def test_maps_bigger_than_the_label_are_an_error():
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.zeros(1, 8, 8)),
        gt_distance_map=PixelData(data=torch.zeros(2, 8, 9)))
    with pytest.raises(ValueError, match='bigger'):
        stack_distance_maps([sample])


def test_maps_keep_their_type():
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.zeros(1, 8, 8)),
        gt_distance_map=PixelData(data=torch.ones(2, 6, 7, dtype=torch.int16)))
    maps = stack_distance_maps([sample])
    assert (maps.dtype, maps.shape, maps.sum()) == (torch.int16, (1, 2, 8, 8), 84)
    assert maps[0, :, :6, :7].sum() == 84


def test_one_loss_of_a_single_config_gets_maps_too():
    model = network(BOUNDARY)
    assert isinstance(model.decode_head.loss_decode, MFFBoundaryLoss)
    assert losses_of(model, batch((32, 32)))['decode.loss_boundary'] != 0
