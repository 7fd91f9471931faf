"""Signed distance maps: values, symmetries, cache, packing."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import TRANSFORMS
from torch.utils.data import DataLoader

from mff_metal.transforms import PackDistanceMap, SignedDistanceMap
from mff_metal.transforms.distance_maps import DistanceMapCache, signed_distance_maps

# Of the official code, for the four label maps of NEU-Seg in neu_seg_labels.npz
SUMS = [
    [-1407106, 1447106, 0, 0],
    [-440773, 0, 480773, 0],
    [-3231524, 0, 0, 3271524],
    [-893713, 3169202, 3756123, 1460752],
]
LEAST, GREATEST = -205, 218


@pytest.fixture(scope='module')
def labels():
    return np.load(Path(__file__).with_name('neu_seg_labels.npz'))['labels']


def sample(label, **keys):
    """Results as LoadImageFromFile and LoadAnnotations leave them."""
    img = np.repeat(label[..., None] * 60, 3, 2).astype(np.uint8)
    keys = dict(keys, seg_fields=['gt_seg_map'], img_shape=label.shape)
    return dict(img=img, gt_seg_map=label.copy(), **keys)


def piece(labels):
    """40x50 pixels, all classes and some that are ignored."""
    label = labels[3][::5, ::4].copy()
    label[:3, 5:9] = 255
    assert set(np.unique(label)) == {0, 1, 2, 3, 255}
    return label


def build(*transforms):
    return [TRANSFORMS.build(dict(t, _scope_='mmseg')) for t in transforms]


def run(results, transforms):
    for transform in transforms:
        results = transform(results)
    return results


def test_official_maps(labels):
    maps = np.stack([signed_distance_maps(y, 4, truncate=True) for y in labels])
    assert maps.dtype == np.int16
    np.testing.assert_array_equal(maps.sum((2, 3), dtype=np.int64), SUMS)
    assert (maps.min(), maps.max()) == (LEAST, GREATEST)
    exact = np.stack([signed_distance_maps(y, 4) for y in labels])
    assert exact.dtype == np.float32
    np.testing.assert_array_equal(np.trunc(exact), maps)
    assert (exact != maps).any()


def test_by_hand():
    label = np.array([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]])
    maps = signed_distance_maps(label, 3)
    # the first pixel inside is 0, the first one outside 1
    root = np.sqrt(2)
    inside = [[-2, -1, 0, 1], [-1, -1, 0, 1], [0, 0, 0, 1], [1, 1, 1, root]]
    np.testing.assert_allclose(maps[1], inside, rtol=1e-7)
    np.testing.assert_array_equal(
        maps[0][:3, :3], [[3, 2, 1], [2, 2, 1], [1, 1, 1]]
    )
    np.testing.assert_allclose(maps[0][3], [0, 0, 0, 1 - root], rtol=1e-6)
    assert (maps[2] == 0).all()
    corner = signed_distance_maps(label, 3, truncate=True)
    assert corner[1, 3, 3] == 1
    assert corner[0, 3, 3] == 0  # towards zero, not downwards


def test_a_class_without_boundary():
    full = signed_distance_maps(np.ones((3, 4), np.uint8), 3)
    assert full.shape == (3, 3, 4)
    assert (full == 0).all()
    ignored = signed_distance_maps(np.full((3, 4), 255, np.uint8), 3)
    assert (ignored == 0).all()


def test_ignored_pixels_are_outside_every_class():
    maps = signed_distance_maps(np.array([[1, 1, 255, 255]]), 2)
    np.testing.assert_array_equal(maps[1], [[-1, 0, 1, 2]])
    assert (maps[0] == 0).all()


def test_distances_beyond_16_bits():
    label = np.zeros((1, 40000), np.uint8)
    label[0, 0] = 1
    maps = signed_distance_maps(label, 2, truncate=True)
    assert maps[1].max() == 39999


# flips and turns


@pytest.mark.parametrize('truncate', [True, False])
def test_maps_follow_all_symmetries_to_the_bit(labels, truncate, monkeypatch):
    label = piece(labels)
    make, turn, pack = build(
        dict(type='SignedDistanceMap', num_classes=4, truncate=truncate),
        dict(type='RandomRotFlip', rotate_prob=0.0, flip_prob=1.0),
        dict(type='PackDistanceMap'),
    )
    seen = set()
    for direction in (None, 'horizontal', 'vertical', 'diagonal'):
        flip = dict(type='RandomFlip', prob=1.0, direction=direction)
        steps = [make, *(build(flip) if direction else []), turn]
        for quarter in range(4):
            for axis in range(2):
                draws = iter([quarter, axis])
                monkeypatch.setattr(np.random, 'randint', lambda *_, d=draws: next(d))
                results = run(sample(label), steps)
                turned = results['gt_seg_map']
                seen.add((turned.shape, turned.tobytes()))
                expected = make(sample(turned))['gt_distance_map']
                assert results['gt_distance_map'].dtype == expected.dtype
                np.testing.assert_array_equal(results['gt_distance_map'], expected)
                packed = pack(results)['data_samples']
                np.testing.assert_array_equal(
                    packed.gt_distance_map.data, expected.transpose(2, 0, 1)
                )
                np.testing.assert_array_equal(packed.gt_sem_seg.data[0], turned)
                assert packed.gt_distance_map.data.is_contiguous()
    assert len(seen) == 8


def test_packing(labels):
    transforms = [SignedDistanceMap(4, truncate=True), PackDistanceMap()]
    results = sample(labels[0], img_path='a.jpg')
    packed = run(results, transforms)
    maps = packed['data_samples'].gt_distance_map.data
    assert (maps.dtype, maps.shape) == (torch.int16, (4, 200, 200))
    assert maps.is_contiguous()
    assert maps.sum((1, 2)).tolist() == SUMS[0]
    assert packed['inputs'].shape == (3, 200, 200)
    assert packed['data_samples'].metainfo['img_path'] == 'a.jpg'
    packed = run(sample(labels[0]), [SignedDistanceMap(4), PackDistanceMap(('flip',))])
    assert packed['data_samples'].gt_distance_map.data.dtype == torch.float32
    assert packed['data_samples'].metainfo == {}


def test_maps_can_be_computed_again(labels):
    make, resize, flip, pack = build(
        dict(type='SignedDistanceMap', num_classes=4),
        dict(type='Resize', scale=(48, 40)),
        dict(type='RandomFlip', prob=1.0),
        dict(type='PackDistanceMap'),
    )
    results = run(sample(piece(labels)), [make, resize, make, flip])
    # flipped once
    assert results['seg_fields'] == ['gt_seg_map', 'gt_distance_map']
    maps = pack(results)['data_samples'].gt_distance_map.data
    expected = signed_distance_maps(results['gt_seg_map'], 4)
    np.testing.assert_array_equal(maps, expected)


WRONG = {
    'resize': dict(type='Resize', scale=(48, 40)),
    'rotation': dict(type='RandomRotate', prob=1.0, degree=(4, 5)),
    'its rotation': dict(type='RandomRotFlip', rotate_prob=1.0, degree=(4, 5)),
    'crop': dict(type='RandomCrop', crop_size=(32, 32)),
    'pad': dict(type='Pad', size=(80, 80)),
    'cut out': dict(
        type='RandomCutOut', prob=1.0, n_holes=1, cutout_shape=(8, 8), seg_fill_in=0
    ),
    # MMCV's own knows no seg_fields and leaves the maps
    'mmcv flip': dict(type='mmcv.RandomFlip', prob=1.0),
    'swapped labels': dict(
        type='RandomFlip', prob=1.0, swap_seg_labels=[(1, 2), (0, 3)]
    ),
    'paste': dict(
        type='RandomScalePaste', size=(40, 50), scale_range=(0.5, 0.6), prob=1.0
    ),
}


@pytest.mark.parametrize('name', WRONG)
@pytest.mark.parametrize('truncate', [True, False])
def test_other_changes_of_the_maps_are_an_error(labels, name, truncate):
    label = piece(labels)
    transforms = build(
        dict(type='SignedDistanceMap', num_classes=4, truncate=truncate),
        WRONG[name],
        dict(type='PackDistanceMap'),
    )
    with pytest.raises((ValueError, AssertionError)) as error:
        run(sample(label, seg_map_path='a.png'), transforms)
    if name != 'paste':  # Pillow refuses maps by itself
        assert 'distance maps of a.png' in str(error.value)
    maker, wrong, pack = transforms
    if name == 'its rotation':  # MMSegmentation interpolates between class indices
        with pytest.raises(ValueError, match=r'a label has the value\(s\)'):
            run(sample(label), [wrong, maker])
        return
    # the other way round is the right one
    results = run(sample(label), [wrong, maker])
    expected = signed_distance_maps(results['gt_seg_map'], 4, truncate)
    np.testing.assert_array_equal(
        pack(results)['data_samples'].gt_distance_map.data, expected
    )


def test_maps_of_another_label_are_an_error(labels):
    results = SignedDistanceMap(4)(sample(labels[0]))
    results['gt_seg_map'] = labels[0][::-1]
    with pytest.raises(ValueError, match='do not belong to its label'):
        PackDistanceMap()(results)
    # a label of another size
    results['gt_seg_map'] = labels[0][:100]
    with pytest.raises(ValueError, match=r'\(200, 200\) pixels, .* \(100, 200\)'):
        PackDistanceMap()(results)
    # the right signs do not make up for wrong distances
    results = SignedDistanceMap(4)(sample(labels[0]))
    results['gt_distance_map'] = results['gt_distance_map'] * 2
    with pytest.raises(ValueError, match='do not belong to its label'):
        PackDistanceMap()(results)


def test_errors(labels, monkeypatch):
    for bad in (dict(num_classes=1), dict(num_classes=4, cache_mb=-1)):
        with pytest.raises(ValueError, match=r'num_classes=1|cache_mb=-1'):
            SignedDistanceMap(**bad)
    make = SignedDistanceMap(3)
    with pytest.raises(ValueError, match=r'b\.png has the value\(s\) \[3\]'):
        make(sample(labels[3], seg_map_path='b.png'))
    with pytest.raises(ValueError, match=r'\[255\]'):
        SignedDistanceMap(4, ignore_index=9)(sample(np.full((2, 2), 255)))
    with pytest.raises(ValueError, match=r'\[-1\]'):
        make(sample(np.full((2, 2), -1)))
    with pytest.raises(ValueError, match=r'b\.png is missing'):
        make(dict(seg_map_path='b.png'))
    with pytest.raises(ValueError, match=r'of shape \(2, 2, 3\)'):
        make(dict(gt_seg_map=np.zeros((2, 2, 3))))
    with pytest.raises(ValueError, match='SignedDistanceMap'):
        PackDistanceMap()(sample(labels[0]))
    monkeypatch.setitem(sys.modules, 'scipy.ndimage', None)
    with pytest.raises(ImportError, match='pip install scipy'):
        SignedDistanceMap(4)


def test_repr():
    text = repr(SignedDistanceMap(4, truncate=True, ignore_index=7, cache_mb=2))
    assert text == (
        'SignedDistanceMap(num_classes=4, truncate=True, ignore_index=7, cache_mb=2)'
    )


# the cache


def test_cache_counts_and_gives_the_same_maps(labels):
    for truncate in (True, False):
        make = SignedDistanceMap(4, truncate=truncate)
        first = [make(sample(y, seg_map_path=str(i))) for i, y in enumerate(labels)]
        assert (make.cache.hits, make.cache.misses, len(make.cache)) == (0, 4, 4)
        assert 0 < make.cache.used < 4 * 200 * 200 * 4 * 4 / 2
        for i, results in enumerate(first):
            expected = results['gt_distance_map'].copy()
            results['gt_distance_map'][:] = 0  # the cache keeps its own
            again = make(sample(labels[i], seg_map_path=str(i)))['gt_distance_map']
            np.testing.assert_array_equal(again, expected)
            assert again.dtype == expected.dtype
            again[:] = 0
            again = make(sample(labels[i], seg_map_path=str(i)))['gt_distance_map']
            np.testing.assert_array_equal(again, expected)
        assert (make.cache.hits, make.cache.misses) == (8, 4)


def test_cache_knows_a_label_that_has_changed(labels):
    make = SignedDistanceMap(4, truncate=True)
    make(sample(labels[0], seg_map_path='a'))
    before = make.cache.used
    for label in (labels[3], labels[3][:100], labels[3][:100].reshape(200, 100)):
        maps = make(sample(label, seg_map_path='a'))['gt_distance_map']
        np.testing.assert_array_equal(
            maps.transpose(2, 0, 1), signed_distance_maps(label, 4, truncate=True)
        )
    assert (make.cache.hits, make.cache.misses, len(make.cache)) == (0, 4, 1)
    # what was replaced is not counted any more
    make(sample(labels[0], seg_map_path='a'))
    assert make.cache.used == before


def test_cache_is_bounded_and_can_be_switched_off(labels):
    sizes = DistanceMapCache(10**9)
    for i, label in enumerate(labels):
        sizes.get(str(i), label, lambda y: signed_distance_maps(y, 4, True))
    one = SignedDistanceMap(4, truncate=True, cache_mb=(sizes.used - 1) / 2**20)
    for _ in range(2):
        for i, label in enumerate(labels):
            one(sample(label, seg_map_path=str(i)))
    # the one that found no room is computed again each time
    assert (len(one.cache), one.cache.hits, one.cache.misses) == (3, 3, 5)
    assert one.cache.used < sizes.used
    off = SignedDistanceMap(4, cache_mb=0)
    for _ in range(2):
        off(sample(labels[0], seg_map_path='a'))
    assert (len(off.cache), off.cache.misses) == (0, 0)
    nameless = SignedDistanceMap(4)
    nameless(sample(labels[0]))
    assert len(nameless.cache) == 0


def test_workers_give_the_same_maps_and_write_no_files(labels, tmp_path):
    for i, label in enumerate(labels):
        cv2.imwrite(str(tmp_path / f'{i}.png'), label[::4, ::4])
        cv2.imwrite(str(tmp_path / f'{i}.jpg'), label[::4, ::4] * 60)
    files = sorted(tmp_path.iterdir())
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = BaseSegDataset(
            data_root=str(tmp_path),
            data_prefix=dict(img_path='', seg_map_path=''),
            metainfo=dict(classes=tuple('abcd')),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='SignedDistanceMap', num_classes=4, truncate=True),
                dict(type='PackDistanceMap'),
            ],
        )

    def epochs(**loader):
        loader = DataLoader(
            dataset,
            batch_size=2,
            sampler=DefaultSampler(dataset, shuffle=False),
            collate_fn=pseudo_collate,
            **loader,
        )
        return torch.stack([
            s.gt_distance_map.data
            for _ in range(2)
            for batch in loader
            for s in batch['data_samples']
        ])

    alone = epochs()
    np.testing.assert_array_equal(
        alone[:4],
        np.stack([signed_distance_maps(y[::4, ::4], 4, True) for y in labels]),
    )
    assert torch.equal(alone[:4], alone[4:])
    # of the pipeline in this process; each worker has a cache of its own
    cache = dataset.pipeline.transforms[2].cache
    assert (cache.hits, cache.misses) == (4, 4)
    assert torch.equal(epochs(num_workers=2, persistent_workers=True), alone)
    assert (cache.hits, cache.misses) == (4, 4)
    assert sorted(tmp_path.iterdir()) == files
