"""RandomHSV: hand-computed colours, the official code, ranges of the gains."""

import cv2
import numpy as np
import pytest
from mmengine.runner import set_random_seed
from mmseg.registry import TRANSFORMS

from fastsegformer_mm.datasets.transforms.random_hsv import RandomHSV


def fixed(factors):
    transform = RandomHSV()
    transform._draw = lambda: np.array(factors, float)
    return transform


def official(rgb, r):
    """The colour part of the official ``get_random_data``."""
    hue, sat, val = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    x = np.arange(0, 256, dtype=r.dtype)
    lut_hue = ((x * r[0]) % 180).astype(np.uint8)
    lut_sat = np.clip(x * r[1], 0, 255).astype(np.uint8)
    lut_val = np.clip(x * r[2], 0, 255).astype(np.uint8)
    merged = cv2.merge((cv2.LUT(hue, lut_hue), cv2.LUT(sat, lut_sat),
                        cv2.LUT(val, lut_val)))
    return cv2.cvtColor(merged, cv2.COLOR_HSV2RGB)


def test_registered():
    assert TRANSFORMS.get('RandomHSV') is RandomHSV


@pytest.mark.parametrize(('factors', 'bgr', 'expected'), [
    ((1, 1, 0.5), (0, 0, 255), (0, 0, 127)),
    ((1, 1, 2), (0, 0, 100), (0, 0, 200)),
    ((1, 1, 3), (0, 0, 100), (0, 0, 255)),  # clipped
    ((1, 0, 1), (0, 0, 255), (255, 255, 255)),
    ((1, 9, 1), (128, 128, 255), (0, 0, 255)),  # clipped
    ((1.5, 1, 1), (0, 255, 0), (255, 255, 0)),  # 120 degrees to 180
    ((1.6, 1, 1), (255, 0, 0), (0, 102, 255)),  # 240 to 384, around to 24
])
def test_hand_computed(factors, bgr, expected):
    img = np.full((3, 2, 3), bgr, np.uint8)
    out = fixed(factors)({'img': img})['img']
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, np.full((3, 2, 3), expected, np.uint8))


@pytest.mark.parametrize('seed', range(5))
def test_official_code(seed):
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (16, 16, 3), np.uint8)
    factors = rng.uniform(-1, 1, 3) * [0.1, 0.7, 0.3] + 1
    out = fixed(factors)({'img': np.ascontiguousarray(rgb[..., ::-1])})['img']
    np.testing.assert_array_equal(out[..., ::-1], official(rgb, factors))


@pytest.mark.parametrize('channel', range(3))
def test_each_gain_bounds_its_own_factor(channel):
    gains = [0.0, 0.0, 0.0]
    gains[channel] = 0.4
    set_random_seed(0)
    transform = RandomHSV(*gains)
    drawn = np.array([transform._draw() for _ in range(300)])
    assert 0.6 <= drawn[:, channel].min() < 0.65
    assert 1.35 < drawn[:, channel].max() <= 1.4
    assert abs(drawn[:, channel].mean() - 1) < 0.05
    assert (np.delete(drawn, channel, 1) == 1).all()


def test_label_stays_and_seed_repeats():
    rng = np.random.default_rng(0)
    img = rng.integers(0, 256, (8, 8, 3), np.uint8)
    label = rng.integers(0, 4, (8, 8), np.uint8)
    outs = []
    for seed in (1, 1, 2):
        set_random_seed(seed)
        results = RandomHSV()({'img': img.copy(), 'gt_seg_map': label.copy()})
        np.testing.assert_array_equal(results['gt_seg_map'], label)
        outs.append(results['img'])
    np.testing.assert_array_equal(outs[0], outs[1])
    assert (outs[0] != outs[2]).any()
    assert (outs[0] != img).any()


def test_no_gain_changes_no_pixel():
    img = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(RandomHSV(0, 0, 0)({'img': img.copy()})['img'], img)


@pytest.mark.parametrize('img', [
    np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8),
    np.zeros((4, 4, 4), np.uint8)])
def test_wrong_image(img):
    with pytest.raises(TypeError, match=r'\(a\.jpg\), expected uint8 BGR'):
        RandomHSV()({'img': img, 'img_path': 'a.jpg'})


@pytest.mark.parametrize('name', ['hue_gain', 'saturation_gain', 'value_gain'])
def test_wrong_gain(name):
    for value in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f'{name}={value}, expected'):
            RandomHSV(**{name: value})


def test_defaults_and_repr():
    assert repr(RandomHSV()) == (
        'RandomHSV(hue_gain=0.1, saturation_gain=0.7, value_gain=0.3)')
