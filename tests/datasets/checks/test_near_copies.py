"""Turned, mirrored and re-encoded copies are found, other pictures are not."""

import doctest
import io
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.datasets.checks import check_dataset, near_copies
from fastsegformer_mm.datasets.checks.near_copies import (
    find_near_copies,
    fingerprint,
    groups_of_copies,
)

TINY = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))


def texture(seed, size=(120, 160)):
    """Light that grows from the left, the same in all, and a texture of its own."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.normal(0, 1, size), (0, 0), 4)
    light = np.linspace(60, 180, size[1])[None]
    image = light + 12 * grain / grain.std()
    return np.clip(image, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)


def saved(image, quality=60):
    data = io.BytesIO()
    Image.fromarray(image).save(data, 'JPEG', quality=quality)
    return np.asarray(Image.open(data))


def found(pictures, originals):
    return list(find_near_copies(
        [fingerprint(p) for p in pictures], [fingerprint(p) for p in originals]))


TURNED = {
    'saved again': lambda a: a,
    'turned by 90 degrees': lambda a: np.rot90(a, 1),
    'turned by 180 degrees': lambda a: np.rot90(a, 2),
    'turned by 270 degrees': lambda a: np.rot90(a, 3),
    'mirrored': lambda a: a[:, ::-1],
    'mirrored and turned by 90 degrees': lambda a: np.rot90(a[:, ::-1], 1),
    'mirrored and turned by 180 degrees': lambda a: a[::-1],
    'mirrored and turned by 270 degrees': lambda a: np.rot90(a[:, ::-1], 3),
}


@pytest.mark.parametrize('how', TURNED)
def test_every_way_to_turn_a_picture(how):
    originals = [texture(seed) for seed in range(5)]
    copy = saved(np.ascontiguousarray(TURNED[how](originals[3])))
    (seen,) = found([texture(9), copy], originals)
    assert (seen.index, seen.original, seen.how) == (1, 3, how)
    assert 0.97 < seen.likeness < 1.001


def test_other_pictures_of_the_same_light_are_not_copies():
    """Though most of each is that light."""
    pictures = [texture(seed) for seed in range(40)]
    plain = np.corrcoef([p.ravel() for p in pictures])
    assert plain[~np.eye(40, dtype=bool)].min() > 0.8
    assert found(pictures[:20], pictures[20:]) == []


def test_another_size_brightness_depth_and_number_of_channels():
    original = texture(0)
    others = [
        cv2.resize(original, (80, 60), interpolation=cv2.INTER_AREA),
        (original * 0.5 + 40).astype(np.uint8),
        original[..., 0].astype(np.uint16) * 257,
        original.astype(np.float32),
    ]
    assert [n.index for n in found(others, [texture(1), original])] == [0, 1, 2, 3]


def test_the_best_of_several_originals(monkeypatch):
    """Whatever the blocks in which they are compared."""
    original = texture(0)
    noise = np.random.default_rng(0).normal(0, 6, original.shape)
    near = np.clip(original + noise, 0, 255).astype(np.uint8)
    near = cv2.GaussianBlur(near, (0, 0), 3)
    originals = [near, texture(1), original, texture(2), near]
    straight = found([original, texture(3), original], originals)
    assert [(n.index, n.original) for n in straight] == [(0, 2), (2, 2)]
    monkeypatch.setattr(near_copies, 'ROWS', 2)
    again = found([original, texture(3), original], originals)
    assert [n[:3] for n in again] == [n[:3] for n in straight]


def test_pictures_without_anything_on_them():
    grey = np.full((50, 50, 3), 90, np.uint8)
    grey[10:12, 10:12] += 3
    assert fingerprint(grey) is None
    assert fingerprint((grey[..., 0].astype(np.uint16)) * 257) is None
    assert found([grey, grey], [grey, texture(0)]) == []
    assert found([], []) == []


def test_groups(monkeypatch):
    """Also where two are only alike by way of a third."""
    a, b, c = (texture(seed) for seed in range(3))
    grey = np.full((50, 50, 3), 90, np.uint8)
    prints = [fingerprint(p) for p in (
        a, b, np.rot90(a), grey, c, saved(a[:, ::-1].copy()), grey, np.rot90(b, 3))]
    assert groups_of_copies(prints) == [0, 1, 0, 3, 4, 0, 6, 1]
    monkeypatch.setattr(near_copies, 'ROWS', 3)
    assert groups_of_copies(prints) == [0, 1, 0, 3, 4, 0, 6, 1]
    assert groups_of_copies([None, None]) == [0, 1]
    assert groups_of_copies([]) == []
    # the middle one is like both of the others, which are not like each other
    one, two = prints[0].astype(np.float32), prints[1].astype(np.float32)
    two -= (one * two).sum() * one
    two /= np.linalg.norm(two)
    angles = np.deg2rad([0, 15, 30])
    chain = [np.cos(t) * one + np.sin(t) * two for t in angles]
    assert np.cos(angles[1]) > near_copies.ALIKE > np.cos(angles[2])
    assert groups_of_copies(chain) == [0, 0, 0]
    assert groups_of_copies([chain[0], chain[2]]) == [0, 1]


def test_report_of_a_set_that_was_enlarged_before_it_was_split(tmp_path):
    add, config = TINY['add'], TINY['config']
    for split, seed in (('train', 0), ('train', 1), ('val', 2), ('test', 3)):
        add(tmp_path, split, f'{seed}', Image.fromarray(texture(seed, (48, 64))),
            TINY['stripes']((48, 64)))
    turned = np.rot90(texture(1, (48, 64)), 1)
    add(tmp_path, 'test', 'copy', Image.fromarray(np.ascontiguousarray(turned)),
        np.rot90(TINY['stripes']((48, 64))).copy())
    report = check_dataset(config(tmp_path))
    (problem,) = [p for p in report.problems if 'copy' in p.kind]
    assert (problem.kind, problem.severity, problem.split) == (
        'train-test-near-copy', 'warning', 'test')
    assert problem.file.endswith('images/test/copy.jpg')
    assert 'images/train/1.jpg, turned by 90 degrees (' in problem.value
    assert 'put all copies of a picture into one split' in problem.way_out
    # pixel for pixel it is told as what it is, once
    add(tmp_path, 'test', 'same', Image.fromarray(texture(0, (48, 64))),
        TINY['stripes']((48, 64)))
    report = check_dataset(config(tmp_path))
    kinds = {Path(p.file).stem: p.kind for p in report.problems if 'train-' in p.kind}
    assert kinds == {'copy': 'train-test-near-copy', 'same': 'train-test-duplicate'}


def test_docstring_examples():
    result = doctest.testmod(near_copies)
    assert (result.attempted, result.failed) == (1, 0)
