import doctest
import importlib

import numpy as np
import pytest
import torch

from fastsegformer_mm.visualization import NetworkInput, contact_sheet
from fastsegformer_mm.visualization.contact_sheet import spread_label
from fastsegformer_mm.visualization.contact_words import EDGE
from fastsegformer_mm.visualization.drawing import GAP, IGNORED, NO_CLASS, PAPER

CLASSES = ('background', 'sunburn', 'ulcer')
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
# a tile of 64 pixels has letters of 10 and lines of 15; six inputs beside each other
# leave the legend room enough for one line
LINE = 15
TOP = GAP + LINE + GAP + LINE


def seen(label=None, size=(64, 64), **kwargs):
    tensor = torch.full((3, *size), 0.25)
    tensor[0, 0, 0] = -1.5
    kwargs.setdefault('meta', {'ori_shape': size})
    return NetworkInput(
        'folder/img7.jpg', tensor, np.full((*size, 3), 100, np.uint8), label, **kwargs)


def square(value, where=slice(16, 48), size=(64, 64)):
    label = np.zeros(size, np.int64)
    label[where, where] = value
    return label


def draw(*inputs, **kwargs):
    kwargs = {'per_row': 6, 'rows': 2, 'tile': 64, **kwargs}
    return contact_sheet(inputs, CLASSES, PALETTE, **kwargs)


def picture(page, column, cell=0, columns=2, top=TOP, tile=64):
    left = GAP + cell * (columns * (tile + 2) - 2 + GAP) + column * (tile + 2)
    return page[top:top + tile, left:left + tile]


@pytest.fixture
def lines(monkeypatch):
    """All lines of text that are written into views, and the legend's entries."""
    module = importlib.import_module('fastsegformer_mm.visualization.contact_sheet')
    found = []
    write, legend = module.write, module.legend_of
    monkeypatch.setattr(module, 'write', lambda pen, where, words, *rest, **more: (
        found.append(words), write(pen, where, words, *rest, **more)))

    def entries(*args):
        result = legend(*args)
        found.extend(words for _, words in result)
        return result

    monkeypatch.setattr(module, 'legend_of', entries)
    # words as they would stand on a sheet wide enough
    monkeypatch.setattr(module, 'wrap', lambda facts, style: facts)
    return found


def test_input_and_label_stand_side_by_side():
    page, = draw(seen(square(2)))
    image, label = picture(page, 0), picture(page, 1)
    assert (image == 100).all()
    assert (label[16, 16:48] == (0, 255, 0)).all()
    assert (label[18:46, 18:46] == (65, 154, 65)).all()
    # the background is not tinted
    assert (label[:15] == 100).all()
    assert (picture(page, 0, cell=1) == PAPER).all()
    assert page.shape[1] == GAP + 6 * (2 * 66 - 2 + GAP)


def test_ignored_pixels_are_hatched():
    page, = draw(seen(square(255)))
    label = picture(page, 1)
    for row, column, colour in ((16, 16, IGNORED), (16, 17, IGNORED),
                                (16, 18, (100,) * 3), (17, 23, IGNORED),
                                (47, 47, (100,) * 3), (40, 25, IGNORED)):
        assert tuple(label[row, column]) == colour
    assert (label[:16] == 100).all()
    # another value is ignored, 255 belongs to no class
    other, = draw(seen(square(9)), ignore_index=9)
    assert tuple(picture(other, 1, top=TOP)[16, 16]) == IGNORED


def test_values_of_no_class_are_chequered():
    page, = draw(seen(square(7)))
    label = picture(page, 1)
    assert {tuple(c) for c in label[16:48, 16:48].reshape(-1, 3)} == set(NO_CLASS)
    assert tuple(label[16, 16]) == NO_CLASS[0]
    assert tuple(label[16, 20]) == NO_CLASS[1]
    assert (label[48:] == 100).all()


def test_edge_of_the_padding_is_marked():
    page, = draw(seen(square(1), padding=(8, 0, 0, 16)))
    for column in (0, 1):
        cell = picture(page, column)
        assert (cell[:, 7] == EDGE).all()
        assert (cell[48] == EDGE).all()
        assert not (cell[:48, 8:] == EDGE).all(axis=2).any()
        assert not (cell[49:, :7] == EDGE).all(axis=2).any()
    right, = draw(seen(square(1), padding=(0, 4, 4, 0)))
    cell = picture(right, 0)
    assert (cell[:, 60] == EDGE).all()
    assert (cell[3] == EDGE).all()


def test_labels_of_their_own_size_are_laid_within_the_padding():
    label = np.zeros((32, 64), np.int64)
    label[:16] = 2
    spread = spread_label(seen(label, (48, 64), padding=(0, 0, 8, 8)))
    assert (spread[:8] == -1).all()
    assert (spread[8:24] == 2).all()
    assert (spread[24:40] == 0).all()
    assert (spread[40:] == -1).all()
    # halved: each pixel of the label stands for what lies at its place
    large = np.kron(square(1, slice(8, 24), (32, 32)), np.ones((2, 2), np.int64))
    assert (spread_label(seen(large, (32, 32))) == square(1, slice(8, 24), (32, 32))
            ).all()


def test_student_input_is_drawn_in_proportion(lines):
    student = np.full((32, 32, 3), 50, np.uint8)
    page, = draw(seen(square(1), student=student))
    cell = picture(page, 2, columns=3)
    assert (cell[:32, :32] == 50).all()
    assert (cell[32:] == PAPER).all()
    assert lines[3:6] == ['teacher input', 'label', 'student input']
    assert 'student 32x32' in lines


def test_captions_say_what_became_of_the_image(lines):
    label = square(2)
    label[:32, :32] = 255
    label[0, 0] = 5
    draw(seen(label, padding=(0, 3, 0, 0), meta={
        'ori_shape': (30, 40), 'scale_factor': (1.6, 2.1333), 'flip': True,
        'flip_direction': 'vertical'}), title=['config', 'tensors'])
    assert lines == [
        'background 56.2 % (not tinted)', 'sunburn 0.0 %', 'ulcer 18.8 %',
        'ignored (255) 25.0 %',
        'value of no class', 'edge of the padding', 'network input', 'label',
        'img7.jpg', '30x40 → 64x64', 'scale 2.13x1.60', 'flip vertical',
        'padding right 3', 'values -1.50 to 0.25',
        'ignored 25.0 %', 'no class 5: 1 px', 'config', 'tensors']
    lines.clear()
    draw(seen(np.zeros((32, 32), np.int64), meta={'flip': False}))
    assert lines[-4:] == ['64x64', 'flip no', 'values -1.50 to 0.25', 'label 32x32']


def test_inputs_without_label(lines):
    alone, = draw(seen())
    assert alone.shape[1] == GAP + 6 * (64 + GAP)
    assert lines[:4] == ['background (not tinted)', 'sunburn', 'ulcer', 'network input']
    lines.clear()
    draw(seen(), seen(square(1)))
    assert 'no label' in lines


def test_pages_have_rows_of_one_height():
    inputs = [seen(np.full((64, 64), k % 2)) for k in range(28)]
    pages = draw(*inputs)
    assert [p.shape[1] for p in pages] == [pages[0].shape[1]] * 3
    assert pages[0].shape == pages[1].shape
    assert pages[2].shape[0] < pages[0].shape[0]
    # the 25th input begins the third page, its neighbour is of the other class
    assert (picture(pages[2], 1, 0) == 100).all()
    assert (picture(pages[2], 1, 1)[32, 32] == (154, 65, 65)).all()
    assert (picture(pages[2], 1, 3)[32, 32] == (154, 65, 65)).all()
    assert (picture(pages[2], 1, 4) == PAPER).all()
    assert len(draw(*inputs, per_row=14)) == 1
    assert len(draw(*inputs, rows=1)) == 5


def test_options_change_the_sheet():
    clear, = draw(seen(square(1)), opacity=0.0)
    assert (picture(clear, 1)[18:46, 18:46] == 100).all()
    opaque, = draw(seen(square(1)), opacity=1.0)
    assert (picture(opaque, 1)[16:48, 16:48] == (255, 0, 0)).all()
    titled, = draw(seen(square(1)), title=['one', 'two'])
    plain, = draw(seen(square(1)))
    assert titled.shape[0] - plain.shape[0] == 2 * LINE


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match='no inputs to draw'):
        draw()
    for option, words in (
            ({'per_row': 0}, '0 inputs a row'), ({'rows': 0}, '0 rows'),
            ({'tile': 63}, 'a tile of 63 pixels'),
            ({'opacity': 1.1}, r'an opacity of 1\.1')):
        with pytest.raises(ValueError, match=words):
            draw(seen(), **option)


@pytest.mark.parametrize(('module', 'examples'), [('contact_sheet', 4), ('drawing', 2)])
def test_docstring_examples_run(module, examples):
    module = importlib.import_module(f'fastsegformer_mm.visualization.{module}')
    result = doctest.testmod(module)
    assert (result.attempted, result.failed) == (examples, 0)
