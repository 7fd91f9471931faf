"""Figures of hand-made masks, and masks of the part."""

import os

import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.deploy import ModelCard
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import InputError, PartMasks
from fastsegformer_mm.deploy.prediction.measure import (
    ClassFigures,
    defect_classes,
    measure,
)

CARD = ModelCard(
    'm', ('sunburn', 'background', 'ulcer'), ((9, 0, 0), (0, 0, 0), (0, 9, 0)), (8, 8)
)


def letters(*rows):
    return np.array([['s.u'.index(c) for c in row] for row in rows], np.uint8)


MASK = letters(
    '..uu....',
    '..uu...u',
    '....u...',
    'u.......',
    '......ss',
)


def test_by_hand():
    found = measure(MASK, CARD)
    assert list(found) == ['sunburn', 'ulcer']
    # over a corner is connected
    assert found['ulcer'] == ClassFigures(
        pixels=7,
        share=7 / 40,
        regions=3,
        largest=5,
        boxes=((2, 0, 3, 3), (7, 1, 1, 1), (0, 3, 1, 1)),
    )
    assert found['sunburn'] == ClassFigures(
        pixels=2, share=2 / 40, regions=1, largest=2, boxes=((6, 4, 2, 1),)
    )


def test_part_known():
    part = np.zeros(MASK.shape, np.uint8)
    part[:2, :4] = 7
    found = measure(MASK, CARD, part)
    assert found['ulcer'].part_share == 4 / 8
    assert found['sunburn'].part_share == 0.0
    # the rest is of the frame still
    assert (found['ulcer'].pixels, found['ulcer'].share) == (7, 7 / 40)
    # a part that is not in the picture
    assert measure(MASK, CARD, part * 0)['ulcer'].part_share == 0.0


def test_small_regions_and_many_boxes():
    figures = measure(MASK, CARD, min_region=2)['ulcer']
    assert (figures.pixels, figures.regions, figures.boxes) == (7, 1, ((2, 0, 3, 3),))
    figures = measure(MASK, CARD, min_region=6)['ulcer']
    assert (figures.pixels, figures.regions, figures.largest, figures.boxes) == (
        7,
        0,
        0,
        (),
    )
    figures = measure(MASK, CARD, max_boxes=2)['ulcer']
    assert (figures.regions, figures.boxes) == (3, ((2, 0, 3, 3), (7, 1, 1, 1)))


def test_nothing_found():
    mask = np.full((4, 4), 1, np.uint8)
    assert measure(mask, CARD) == {'sunburn': ClassFigures(), 'ulcer': ClassFigures()}


def test_more_regions_than_16_bits_can_number():
    mask = np.full((600, 600), 1, np.uint8)
    mask[::2, ::2] = 2
    figures = measure(mask, CARD)['ulcer']
    assert (figures.pixels, figures.regions, figures.largest) == (90_000, 90_000, 1)
    assert len(figures.boxes) == 100


def test_every_class_counts_where_none_is_background():
    card = ModelCard('m', ('pit', 'scratch'), ((1, 1, 1), (2, 2, 2)), (8, 8))
    assert defect_classes(card) == {'pit': 0, 'scratch': 1}


def save(path, mask, mode='L'):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).convert(mode).save(path)


def test_part_masks_of_a_folder(tmp_path):
    mask = np.zeros((4, 6), np.uint8)
    mask[1:3] = 255
    save(tmp_path / 'left/a.b.png', mask)
    save(tmp_path / 'rgba.png', mask, 'RGBA')
    save(tmp_path / 'la.png', mask, 'LA')
    save(tmp_path / 'bits.png', mask, '1')
    palette = Image.fromarray(mask // 255)
    # index 1 is black, but is not 0
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(tmp_path / 'palette.png')
    parts = PartMasks(tmp_path)
    for name in ('left/a.b', 'rgba', 'la', 'bits', 'palette'):
        assert np.array_equal(parts(name, (4, 6)), mask // 255), name
    assert parts('left/other', (4, 6)) is None


def test_one_part_mask_for_all(tmp_path):
    save(tmp_path / 'part.png', np.full((4, 6), 1, np.uint8))
    parts = PartMasks(tmp_path / 'part.png')
    assert parts('any', (4, 6)).sum() == 24
    # drawn anew
    save(tmp_path / 'part.png', np.zeros((4, 6), np.uint8))
    os.utime(tmp_path / 'part.png', (1, 1))
    assert parts('any', (4, 6)).sum() == 0


def test_part_masks_that_do_not_fit(tmp_path):
    with pytest.raises(DeployError, match='no such file or folder; expected masks'):
        PartMasks(tmp_path / 'nothing')
    save(tmp_path / 'a.png', np.zeros((4, 6), np.uint8))
    (tmp_path / 'b.png').write_bytes(b'no image')
    parts = PartMasks(tmp_path)
    with pytest.raises(InputError, match=r'a\.png is 6x4 pixels; .* the frame, 8x5'):
        parts('a', (5, 8))
    with pytest.raises(
        InputError, match=r'frame: its part mask .*b\.png cannot be read'
    ):
        parts('b', (5, 8), 'frame')
