"""RandomScalePaste: the official formulas, placing, alignment of labels."""

import numpy as np
import pytest
from mmcv.transforms.utils import cache_random_params
from mmengine.runner import set_random_seed
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs
from mmseg.registry import TRANSFORMS
from PIL import Image

from fastsegformer_mm.datasets.transforms.random_scale_paste import RandomScalePaste


def sample(height, width, seed=0):
    rng = np.random.default_rng(seed)
    return {
        'img': rng.integers(0, 256, (height, width, 3), np.uint8),
        'gt_seg_map': rng.integers(1, 4, (height, width), np.uint8),
        'seg_fields': ['gt_seg_map'], 'ori_shape': (height, width)}


def fix(transform, new_size, top, left):
    """Replace the draw."""
    transform._draw = lambda shape: (new_size, top, left)
    return transform


def test_registered():
    assert TRANSFORMS.get('RandomScalePaste') is RandomScalePaste


@pytest.mark.parametrize(('shape', 'size'), [
    ((512, 512), (224, 224)), ((100, 300), (224, 320)), ((300, 100), (64, 48))])
def test_draws_follow_the_official_formula(shape, size):
    transform = RandomScalePaste(size)
    wide = tall = larger = smaller = 0
    for seed in range(200):
        set_random_seed(seed)
        (new_h, new_w), top, left = transform._draw(shape)
        # the same stream: the first number decides on the jitter
        _, a, b, scale, x, y = np.random.RandomState(seed).random_sample(6)
        aspect = shape[1] / shape[0] * (0.7 + 0.6 * a) / (0.7 + 0.6 * b)
        scale = 0.25 + 1.75 * scale
        if aspect < 1:
            height = int(scale * size[0])
            width = int(height * aspect)
            tall += 1
        else:
            width = int(scale * size[1])
            height = int(width / aspect)
            wide += 1
        assert (new_h, new_w) == (height, width)
        assert left == int(x * (size[1] - width))
        assert top == int(y * (size[0] - height))
        assert min(0, size[0] - height) <= top <= max(0, size[0] - height)
        assert min(0, size[1] - width) <= left <= max(0, size[1] - width)
        larger += width > size[1] or height > size[0]
        smaller += width < size[1] and height < size[0]
    assert larger > 20
    assert smaller > 20
    if shape[0] == shape[1]:
        assert min(wide, tall) > 60


def test_each_option_of_the_draw():
    shape, size = (100, 100), (200, 200)

    def draws(**kwargs):
        transform = RandomScalePaste(size, **kwargs)
        set_random_seed(0)
        return [transform._draw(shape) for _ in range(100)]

    # no jitter, one scale: only the place is left
    still = draws(aspect_jitter=0, scale_range=(0.5, 0.5))
    assert {new for new, *_ in still} == {(100, 100)}
    assert len({tuple(place) for _, *place in still}) > 90
    aspects = [w / h for (h, w), *_ in draws(aspect_jitter=0.1, scale_range=(1, 1))]
    assert 0.9 / 1.1 - 0.01 <= min(aspects) < 0.9
    assert 1.1 < max(aspects) <= 1.1 / 0.9 + 0.01
    sides = [max(new) for new, *_ in draws(scale_range=(0.5, 0.75), aspect_jitter=0)]
    assert 100 <= min(sides) < 110
    assert 140 < max(sides) <= 150
    # without the jitter: in the middle, as large as fits
    assert set(draws(prob=0)) == {((200, 200), 0, 0)}
    assert RandomScalePaste((200, 300), prob=0)._draw(shape) == ((200, 200), 0, 50)
    some = [d == ((200, 200), 0, 0) for d in draws(prob=0.5)]
    assert 30 < sum(some) < 70


@pytest.mark.parametrize(('new', 'top', 'left'), [
    ((20, 30), 5, 7),  # inside
    ((80, 100), -20, -31),  # larger on all sides
    ((80, 20), -3, 6),  # larger in height only
    ((48, 64), 0, 0),
])
def test_canvas_is_the_official_one(new, top, left):
    results = sample(40, 60)
    size = (48, 64)
    img = Image.new('RGB', size[::-1], (128, 128, 128))
    img.paste(Image.fromarray(results['img']).resize(new[::-1], Image.BICUBIC),
              (left, top))
    label = Image.new('L', size[::-1], 0)
    label.paste(Image.fromarray(results['gt_seg_map']).resize(
        new[::-1], Image.NEAREST), (left, top))
    out = fix(RandomScalePaste(size), new, top, left)(results)
    np.testing.assert_array_equal(out['img'], np.asarray(img))
    np.testing.assert_array_equal(out['gt_seg_map'], np.asarray(label))
    assert out['img_shape'] == out['pad_shape'] == size
    assert out['scale'] == new[::-1]
    assert out['scale_factor'] == (new[1] / 60, new[0] / 40)
    assert out['ori_shape'] == (40, 60)
    assert out['keep_ratio'] is False


def test_label_is_where_the_image_is():
    """Image and labels hold coordinates: they agree to half a source pixel."""
    ys, xs = np.mgrid[:150, :200].astype(np.uint8)
    transform = RandomScalePaste((96, 96), seg_pad_val=255)
    set_random_seed(0)
    compared = 0
    for _ in range(40):
        out = transform({'img': np.stack([xs, ys, ys], -1), 'x': xs, 'y': ys,
                             'seg_fields': ['x', 'y']})
        # two pixels off the image's edges, where the filter has less to average
        shown = np.pad(out['x'] != 255, 2)
        shown = np.lib.stride_tricks.sliding_window_view(shown, (5, 5)).all((2, 3))
        compared += shown.sum()
        for channel, key in enumerate('xy'):
            image = out['img'][..., channel][shown].astype(int)
            # 0.5 of a source pixel, and rounding to uint8
            assert np.abs(image - out[key][shown].astype(int)).max(initial=0) <= 1
    assert compared > 40 * 1000


def test_canvas_values_and_their_place():
    for pad_val, seg_pad_val in ((128, 0), (9, 255)):
        transform = fix(RandomScalePaste(
            (48, 64), pad_val=pad_val, seg_pad_val=seg_pad_val), (20, 30), 5, 7)
        out = transform(sample(40, 60))
        outside = np.ones((48, 64), bool)
        outside[5:25, 7:37] = False
        assert (out['img'][outside] == pad_val).all()
        assert (out['gt_seg_map'][outside] == seg_pad_val).all()
        assert (out['gt_seg_map'][~outside] > 0).all()


def test_defaults_are_the_official_ones():
    assert repr(RandomScalePaste((224, 320))) == (
        'RandomScalePaste(size=(224, 320), aspect_jitter=0.3, '
        'scale_range=(0.25, 2.0), pad_val=128, seg_pad_val=None, prob=1.0)')


@pytest.mark.parametrize('shape', [(1000, 2), (2, 1000), (1, 1), (7, 5)])
def test_never_empty(shape):
    transform = RandomScalePaste((16, 24), scale_range=(0.01, 0.02))
    for _ in range(20):
        out = transform(sample(*shape))
        assert min(out['scale']) >= 1
        assert out['img'].shape == (16, 24, 3)
        assert out['gt_seg_map'].shape == (16, 24)
    transform = RandomScalePaste((16, 24))
    for _ in range(20):
        assert transform(sample(*shape))['img'].shape == (16, 24, 3)


def test_seed_gives_the_same_again():
    transform = RandomScalePaste((32, 32))
    outs = []
    for seed in (3, 3, 4):
        set_random_seed(seed)
        outs.append(transform(sample(40, 60))['img'])
    np.testing.assert_array_equal(outs[0], outs[1])
    assert (outs[0] != outs[2]).any()


def test_cached_randomness():
    """The same place for two images, where MMCV asks for it."""
    transform = RandomScalePaste((32, 32))
    with cache_random_params(transform):
        first, second = transform(sample(40, 60)), transform(sample(40, 60))
    np.testing.assert_array_equal(first['img'], second['img'])
    assert (transform(sample(40, 60))['img'] != first['img']).any()


def test_packs_without_labels_too():
    packed = PackSegInputs()(RandomScalePaste((32, 48))(sample(40, 60)))
    assert packed['inputs'].shape == (3, 32, 48)
    assert packed['data_samples'].gt_sem_seg.shape == (32, 48)
    assert packed['data_samples'].img_shape == (32, 48)
    out = RandomScalePaste((32, 48))({'img': np.zeros((5, 5, 3), np.uint8)})
    assert 'gt_seg_map' not in out


@pytest.mark.parametrize(('kwargs', 'named'), [
    ({'size': 224}, 'size=224'), ({'aspect_jitter': 1}, 'aspect_jitter=1'),
    ({'aspect_jitter': -0.1}, 'aspect_jitter=-0.1'),
    ({'scale_range': (0, 1)}, r'scale_range=\(0, 1\)'),
    ({'scale_range': (2, 1)}, r'scale_range=\(2, 1\)'), ({'prob': 1.5}, 'prob=1.5'),
])
def test_bad_arguments(kwargs, named):
    with pytest.raises(ValueError, match=f'{named}, expected'):
        RandomScalePaste(**{'size': (8, 8), **kwargs})


def test_float_image_is_refused():
    with pytest.raises(TypeError, match=r'float32 \(a\.jpg\), expected uint8'):
        RandomScalePaste((8, 8))(
            {'img': np.zeros((4, 4, 3), np.float32), 'img_path': 'a.jpg'})


@pytest.mark.parametrize(('loaded', 'value'), [
    ({}, 0), (dict(reduce_zero_label=False, label_map=None), 0),
    (dict(reduce_zero_label=True), 255),
    (dict(label_map={0: 255, 1: 1, 2: 0}), 255), (dict(label_map={0: 2, 2: 0}), 2),
    (dict(reduce_zero_label=True, label_map={0: 1, 1: 0}), 255)])
def test_canvas_is_what_zero_in_the_label_is_loaded_as(tmp_path, loaded, value):
    path = tmp_path / 'label.png'
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    loaded = dict(dict(reduce_zero_label=False, label_map=None), **loaded)
    label = LoadAnnotations()(dict(
        seg_map_path=str(path), seg_fields=[], **loaded))['gt_seg_map']
    assert (label == value).all()
    results = dict(img=np.zeros((8, 8, 3), np.uint8), gt_seg_map=label,
                   seg_fields=['gt_seg_map'], **loaded)
    out = RandomScalePaste((32, 32), scale_range=(0.5, 0.5))(results)
    assert (out['gt_seg_map'] == value).all()
