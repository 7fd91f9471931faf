"""A mask over its frame."""

import numpy as np
import pytest

from fastsegformer_mm.deploy import ModelCard, Segmentation
from fastsegformer_mm.deploy.errors import DeployError

FRAME = np.arange(36, dtype=np.uint8).reshape(3, 4, 3) * 5
MASK = np.array([[0, 0, 1, 1], [0, 2, 1, 1], [0, 0, 0, 3]], np.uint8)


def make(classes=('background', 'a', 'b', 'c'), palette=None, mask=MASK):
    palette = palette or ((0, 0, 0), (128, 0, 0), (0, 128, 0), (64, 128, 0))
    return Segmentation(mask, ModelCard('my', classes, palette, (32, 32)))


def blend(colours, opacity):
    """The frame with colours (BGR, None for none) by class."""
    out = FRAME.astype(float)
    for k, colour in enumerate(colours):
        if colour is not None:
            inside = k == MASK
            out[inside] = (1 - opacity) * out[inside] + opacity * np.array(colour)
    return out


@pytest.mark.parametrize('opacity', [0.0, 0.3, 0.5, 1.0])
def test_vivid_colours_over_all_but_background(opacity):
    found = make().overlay(FRAME, opacity)
    # palettes are RGB, frames BGR; brightened to 255
    expected = blend([None, (0, 0, 255), (0, 255, 0), (0, 255, 128)], opacity)
    assert found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 0.5 + 1e-6
    assert np.array_equal(found[MASK == 0], FRAME[MASK == 0])


def test_half_by_default():
    assert np.array_equal(make().overlay(FRAME), make().overlay(FRAME, 0.5))


def test_background_by_its_name():
    found = make(('a', 'b', 'Background', 'c')).overlay(FRAME, 1)
    assert np.array_equal(found[MASK == 2], FRAME[MASK == 2])
    assert found[0, 0].tolist() == [0, 0, 0]


def test_without_background_all_are_coloured():
    found = make(('a', 'b', 'c', 'd')).overlay(FRAME, 1)
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found[0, 2].tolist() == [0, 0, 255]


def test_palette_of_shades_of_one_colour():
    shades = ((0, 0, 0), (128, 0, 0), (64, 0, 0), (32, 0, 0))
    found = make(palette=shades).overlay(FRAME, 1)
    assert found[0, 2].tolist() == [0, 0, 128]
    assert found[1, 1].tolist() == [0, 0, 64]


def test_classes_without_a_colour():
    found = make(palette=((0, 0, 0), (128, 0, 0))).overlay(FRAME, 1)
    assert found[0, 2].tolist() == [0, 0, 255]
    assert np.array_equal(found[MASK > 1], FRAME[MASK > 1])


@pytest.mark.parametrize('mask', [MASK, np.zeros_like(MASK)])
def test_a_new_image(mask):
    frame = FRAME.copy()
    drawn = make(mask=mask).overlay(frame)
    drawn[:] = 1
    assert np.array_equal(frame, FRAME)


def test_other_frames():
    with pytest.raises(DeployError, match='the frame is 4 x 3 and the mask 3 x 4'):
        make().overlay(FRAME.transpose(1, 0, 2))
    with pytest.raises(DeployError, match='a frame is float64'):
        make().overlay(FRAME / 2)


@pytest.mark.parametrize('opacity', [-0.1, 1.1, float('nan')])
def test_opacity_out_of_range(opacity):
    with pytest.raises(DeployError, match=r'opacity=.*expected a number from 0 to 1'):
        make().overlay(FRAME, opacity)
