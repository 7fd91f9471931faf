import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from fastsegformer_mm.models.segmentors import EncoderDecoderWithImage

RESNET = {'type': 'ResNetV1c', 'depth': 18, 'base_channels': 8, 'stem_channels': 8}
HEAD = {
    'type': 'FastSegFormerHead',
    'in_channels': [8, 16, 32, 64, 3],
    'channels': 16,
    'stem_channels': 8,
    'bottleneck_channels': [8],
    'num_blocks': [1],
    'branch_channels': 4,
    'num_classes': 4,
}


def build(**kwargs):
    model = {
        'type': 'EncoderDecoderWithImage',
        'backbone': RESNET,
        'decode_head': HEAD,
        'test_cfg': {'mode': 'whole'},
    }
    return MODELS.build({**model, **kwargs})


def aux_head(in_index, in_channels):
    return {
        'type': 'FCNHead',
        'in_index': in_index,
        'in_channels': in_channels,
        'channels': 8,
        'num_convs': 1,
        'num_classes': 4,
        'loss_decode': {'type': 'CrossEntropyLoss', 'loss_weight': 0.4},
    }


def samples(batch, height, width):
    return [
        SegDataSample(
            gt_sem_seg=PixelData(data=torch.randint(0, 4, (1, height, width)))
        )
        for _ in range(batch)
    ]


def test_the_image_comes_last():
    model = build()
    assert isinstance(model, EncoderDecoderWithImage)
    image = torch.rand(2, 3, 64, 96)
    *maps, last = model.extract_feat(image)
    assert last is image
    strides = [64 / x.shape[2] for x in maps]
    assert strides == [4, 8, 16, 32]
    plain = build(
        type='EncoderDecoder',
        decode_head={
            **HEAD,
            'in_channels': HEAD['in_channels'][:4],
            'branch_channels': None,
        },
    )
    assert len(plain.extract_feat(image)) == 4


def test_auxiliary_heads_count_from_the_front():
    model = build(auxiliary_head=[aux_head(1, 16), aux_head(2, 32)]).train()
    losses = model.loss(torch.rand(2, 3, 64, 64), samples(2, 64, 64))
    names = {'decode.loss_ce', 'aux_0.loss_ce', 'aux_1.loss_ce'}
    assert names < set(losses)
    sum(losses[name] for name in names).backward()
    # the stock backbone ends in no layer that nobody reads
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert unused == []


def test_a_neck_is_in_between():
    neck = {
        'type': 'FPN',
        'in_channels': [8, 16, 32, 64],
        'out_channels': 12,
        'num_outs': 4,
    }
    head = {**HEAD, 'in_channels': [12, 12, 12, 12, 3]}
    model = build(neck=neck, decode_head=head, auxiliary_head=aux_head(3, 12)).train()
    image = torch.rand(2, 3, 64, 64)
    assert [x.shape[1] for x in model.extract_feat(image)] == [12, 12, 12, 12, 3]
    losses = model.loss(image, samples(2, 64, 64))
    assert {'decode.loss_ce', 'aux.loss_ce'} < set(losses)


def test_plain_encoder_decoder_says_what_it_lacks():
    model = build(type='EncoderDecoder').eval()
    with pytest.raises(ValueError, match="set type='EncoderDecoderWithImage'"):
        model(torch.rand(1, 3, 64, 64))


def test_head_without_branch_ignores_the_image():
    head = {**HEAD, 'in_channels': [8, 16, 32, 64], 'branch_channels': None}
    ours = build(decode_head=head).eval()
    stock = build(decode_head=head, type='EncoderDecoder').eval()
    stock.load_state_dict(ours.state_dict())
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(image), stock(image))
