"""What is put before and after the network, in PyTorch, against MMSegmentation."""

import runpy
from dataclasses import replace
from pathlib import Path

import mmcv
import numpy as np
import pytest
import torch
from torch import nn

from fastsegformer_mm.datasets.transforms.letter_box import fitting_size
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.export.frame_input import FrameInput
from fastsegformer_mm.deploy.export.geometry import place
from fastsegformer_mm.deploy.export.mask_output import MaskOutput
from fastsegformer_mm.deploy.export.pooling import MatrixPool, without_adaptive_pools
from fastsegformer_mm.deploy.frames import Placement
from fastsegformer_mm.deploy.model_card import ModelCard

frame = runpy.run_path(str(Path(__file__).with_name('segmentor_cases.py')))['frame']
CARD = ModelCard(
    'm',
    ('a', 'b', 'c', 'd'),
    ((0, 0, 0),) * 4,
    (64, 96),
    mean=(120.0, 110.0, 100.0),
    std=(60.0, 50.0, 40.0),
)
SHAPES = ((100, 77), (31, 200), (64, 96), (200, 333))


def prepared(frame, card, size, top, left, canvas):
    """What MMSegmentation's pipeline and data preprocessor make of a frame."""
    image = frame
    if size != frame.shape[:2]:
        image = mmcv.imresize(
            frame,
            size[::-1],
            interpolation=card.interpolation,
            backend=card.resize_backend,
        )
    grey = card.pad_val if card.resize == 'letterbox' else np.array(card.mean)[::-1]
    out = np.broadcast_to(grey, (*canvas, 3)).astype(np.float64).copy()
    out[top : top + size[0], left : left + size[1]] = image
    return (out[..., ::-1] - card.mean).transpose(2, 0, 1) / np.array(card.std)[
        :, None, None
    ]


@pytest.mark.parametrize('interpolation', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('shape', SHAPES)
def test_letterbox_is_that_of_pillow(shape, interpolation):
    card = replace(CARD, interpolation=interpolation, pad_val=90)
    picture = frame(*shape)
    size = fitting_size(shape, card.size)
    top, left = (64 - size[0]) // 2, (96 - size[1]) // 2
    wanted = prepared(picture, card, size, top, left, card.size)
    found, frame_size = FrameInput(card)(torch.from_numpy(picture)[None])
    assert frame_size.tolist() == list(shape)
    assert found.shape == (1, 3, 64, 96)
    apart = np.abs(found[0].numpy() - wanted) * np.array(card.std)[:, None, None]
    # rounded otherwise at some values, by one grey level
    assert apart.max() < 1.01
    assert (apart > 0.5).mean() < 0.01


def test_channel_order_and_batch():
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[..., 0] = 255
    both = torch.from_numpy(np.stack([picture, picture[..., ::-1]]))
    rgb, _ = FrameInput(CARD)(both)
    bgr, _ = FrameInput(replace(CARD, to_rgb=False))(both)
    blue = [-120 / 60, -110 / 50, 155 / 40]
    red = [135 / 60, -110 / 50, -100 / 40]
    assert torch.allclose(rgb[:, :, 5, 5], torch.tensor([blue, red]))
    assert torch.allclose(
        bgr[:, :, 5, 5],
        torch.tensor([[135 / 60, -110 / 50, -100 / 40], [-2.0, -2.2, 155 / 40]]),
    )


@pytest.mark.parametrize(
    ('resize', 'divisor'),
    [('stretch', 1), ('stretch', 40), ('keep_ratio', 32), ('none', 32), ('none', 1)],
)
@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize('shape', SHAPES[:2])
def test_other_ways_to_size(resize, divisor, backend, shape):
    card = replace(
        CARD,
        resize=resize,
        size_divisor=divisor,
        resize_backend=backend,
        interpolation='bilinear',
    )
    picture = frame(*shape)
    size = {
        'stretch': (64, 96),
        'keep_ratio': mmcv.rescale_size(shape[::-1], (96, 64))[::-1],
        'none': shape,
    }[resize]
    canvas = tuple(-(-side // divisor) * divisor for side in size)
    wanted = prepared(picture, card, size, 0, 0, canvas)
    found, _ = FrameInput(card)(torch.from_numpy(picture)[None])
    assert found.shape == (1, 3, *canvas)
    apart = np.abs(found[0].numpy() - wanted) * np.array(card.std)[:, None, None]
    assert apart.max() < 1.01
    assert (apart > 0.5).mean() < 0.01
    assert np.all(found[0].numpy()[:, size[0] :] == 0)


def test_sizes_are_those_of_the_transforms():
    ratio = replace(CARD, resize='keep_ratio')
    odd = {}
    for height in range(40, 1400, 53):
        for width in range(30, 1300, 71):
            shape = torch.tensor([height, width])
            found = tuple(place(shape, CARD).size.tolist())
            if found != fitting_size((height, width), (64, 96)):
                odd[height, width] = found
            wanted = mmcv.rescale_size((width, height), (96, 64))[::-1]
            assert tuple(place(shape, ratio).size.tolist()) == wanted
    assert odd == {}


@pytest.mark.parametrize('resize', ['letterbox', 'keep_ratio', 'stretch', 'none'])
@pytest.mark.parametrize('align_corners', [True, False])
def test_mask_is_cut_resized_and_compared(resize, align_corners):
    card = replace(CARD, resize=resize, size_divisor=32, align_corners=align_corners)
    where = {
        'letterbox': Placement((100, 77), (64, 49), 0, 23, (64, 96)),
        'keep_ratio': Placement((100, 77), (83, 64), 0, 0, (96, 64)),
        'stretch': Placement((100, 77), (64, 96), 0, 0, (64, 96)),
        'none': Placement((100, 77), (100, 77), 0, 0, (128, 96)),
    }[resize]
    if resize == 'letterbox':
        card = replace(card, size_divisor=1)
    logits = torch.randn(2, 4, *where.canvas)
    bottom, right = where.top + where.size[0], where.left + where.size[1]
    wanted = nn.functional.interpolate(
        logits[:, :, where.top : bottom, where.left : right],
        where.frame,
        mode='bilinear',
        align_corners=align_corners,
    ).argmax(1)
    found = MaskOutput(card)(logits, torch.tensor(where.frame))
    assert found.dtype == torch.uint8
    assert torch.equal(found.long(), wanted)


def test_one_channel_has_a_threshold():
    card = replace(CARD, threshold=0.4, size=(2, 2), resize='stretch')
    # sigmoid is 0.378, 0.401, 0.5 and 0
    logits = torch.tensor([[[[-0.5, -0.4], [0.0, -20.0]]]])
    found = MaskOutput(card)(logits, torch.tensor([2, 2]))
    assert found.tolist() == [[[0, 1], [1, 0]]]


def test_what_has_no_form_in_a_graph():
    with pytest.raises(DeployError, match='cv2 bicubic; expected pillow bilinear or'):
        FrameInput(replace(CARD, resize_backend='cv2'))
    with pytest.raises(DeployError, match='300 classes; expected 256'):
        MaskOutput(replace(CARD, classes=('x',) * 300))


@pytest.mark.parametrize('size', [(7, 9), (12, 6), (3, 2)])
def test_pooling_by_matrices(size):
    x = torch.randn(2, 3, *size)
    network = nn.Sequential(nn.AdaptiveAvgPool2d((2, 3)), nn.AdaptiveAvgPool2d(1))
    found = without_adaptive_pools(network)
    assert isinstance(found[0], MatrixPool)
    assert isinstance(found[1], nn.AdaptiveAvgPool2d)
    assert isinstance(network[0], nn.AdaptiveAvgPool2d)
    assert torch.allclose(found[0](x), network[0](x), atol=1e-6)
    six = nn.AdaptiveAvgPool2d(6)
    assert torch.allclose(MatrixPool((6, 6))(x), six(x), atol=1e-6)
