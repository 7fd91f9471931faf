"""Colour masks to index PNG: every kind of mask, unknown colours, safety."""

import doctest
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.datasets.navel_orange import NavelOrangeDataset

PATH = Path(__file__).parents[2] / 'tools/dataset_converters/color_masks_to_index.py'
spec = importlib.util.spec_from_file_location('color_masks_to_index', PATH)
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)

PALETTE = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]
INDEX = (np.arange(48).reshape(6, 8) // 3 % 4).astype(np.uint8)
RGB = np.array(PALETTE, np.uint8)[INDEX]


def to_index(mask, palette=PALETTE, **kwargs):
    return tool.mask_to_index(mask, palette, **kwargs)


def palette_mask(index, palette):
    mask = Image.fromarray(index)
    mask.putpalette(np.ravel(palette).astype(np.uint8).tobytes())
    return mask


def test_rgb():
    out = to_index(Image.fromarray(RGB))
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, INDEX)


def test_rgba_transparent_pixels():
    rgba = np.dstack([RGB, np.full(INDEX.shape, 255, np.uint8)])
    rgba[0, :3] = (9, 9, 9, 0)  # any colour, fully transparent
    rgba[1, :3, 3] = 1  # nearly so: its colour counts
    expected = INDEX.copy()
    expected[0, :3] = 0
    np.testing.assert_array_equal(to_index(Image.fromarray(rgba)), expected)
    expected[0, :3] = 255
    np.testing.assert_array_equal(
        to_index(Image.fromarray(rgba), alpha='ignore'), expected)


def test_unknown_colours_are_listed_most_frequent_first():
    rgb = RGB.copy()
    rgb[0, 0] = (0, 0, 200)
    rgb[1, :2] = (120, 3, 4)
    with pytest.raises(tool.UnknownColors) as caught:
        to_index(Image.fromarray(rgb))
    assert caught.value.found == [
        ((120, 3, 4), 2, 1, pytest.approx(np.sqrt(64 + 9 + 16))),
        ((0, 0, 200), 1, 0, 200.0)]


def test_tolerance():
    rgb = RGB.copy()
    rgb[1, :2] = (120, 3, 4)  # 9.43 from class 1
    expected = INDEX.copy()
    expected[1, :2] = 1
    np.testing.assert_array_equal(
        to_index(Image.fromarray(rgb), tolerance=9.5), expected)
    with pytest.raises(tool.UnknownColors):
        to_index(Image.fromarray(rgb), tolerance=9.4)


def test_jpeg_mask(tmp_path):
    index = np.kron(INDEX, np.ones((16, 16), np.uint8))
    Image.fromarray(np.array(PALETTE, np.uint8)[index]).save(
        tmp_path / 'a.jpg', quality=95, subsampling=0)
    with Image.open(tmp_path / 'a.jpg') as mask:
        out = to_index(mask, tolerance=60)
    np.testing.assert_array_equal(out, index)


def test_palette_mask_keeps_its_indices():
    index = INDEX.copy()
    index[0, 0] = 255
    mask = palette_mask(index, PALETTE)
    np.testing.assert_array_equal(to_index(mask), index)
    with pytest.raises(ValueError, match=r'index 3 \(12 pixels\), expected 0 to 2'):
        to_index(mask, PALETTE[:3])


def test_palette_mask_with_other_colours():
    swapped = [PALETTE[i] for i in (0, 2, 1, 3)]
    mask = palette_mask(INDEX, swapped)
    with pytest.raises(ValueError, match=r'index 1 has colour \(0, 128, 0\), but class '
                       r'1 has \(128, 0, 0\)'):
        to_index(mask)
    np.testing.assert_array_equal(to_index(mask, trust='indices'), INDEX)
    np.testing.assert_array_equal(
        to_index(mask, trust='colors'), np.array([0, 2, 1, 3])[INDEX])
    # a palette slightly off
    mask = palette_mask(INDEX, np.array(PALETTE) + 2)
    np.testing.assert_array_equal(to_index(mask, tolerance=4), INDEX)


def test_grey_masks():
    np.testing.assert_array_equal(to_index(Image.fromarray(INDEX)), INDEX)
    binary = INDEX > 1
    black_white = [(0, 0, 0), (255, 255, 255)]
    for mask in (Image.fromarray(binary), Image.fromarray(binary * np.uint8(255)),
                 Image.fromarray(binary.astype(np.uint8))):
        np.testing.assert_array_equal(to_index(mask, black_white), binary)
    ignored = np.where(binary, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(
        to_index(Image.fromarray(ignored), black_white, trust='indices'), ignored)
    noisy = Image.fromarray(np.where(binary, 250, 3).astype(np.uint8))
    np.testing.assert_array_equal(
        to_index(noisy, black_white, tolerance=10), binary)
    with pytest.raises(tool.UnknownColors):
        to_index(noisy, black_white)


def test_ambiguous_grey_mask():
    """An almost black mask within the tolerance, or a mask of indices?"""
    mask = Image.fromarray((INDEX > 1).astype(np.uint8))
    black_white = [(0, 0, 0), (255, 255, 255)]
    with pytest.raises(ValueError, match='--trust indices or --trust colors'):
        to_index(mask, black_white, tolerance=10)
    assert to_index(mask, black_white, tolerance=10, trust='colors').max() == 0
    np.testing.assert_array_equal(
        to_index(mask, black_white, tolerance=10, trust='indices'), INDEX > 1)


def test_other_modes_are_refused():
    for mode in ('I;16', 'CMYK', 'F'):
        with pytest.raises(ValueError, match=f'image mode {mode}, expected RGB'):
            to_index(Image.new(mode, (2, 2)))


@pytest.fixture
def masks(tmp_path):
    (tmp_path / 'src/sub').mkdir(parents=True)
    Image.fromarray(RGB).save(tmp_path / 'src/a.png')
    Image.fromarray(RGB[::-1]).save(tmp_path / 'src/sub/b.bmp')
    (tmp_path / 'src/notes.txt').write_text('')
    return tmp_path


def fails(*args, **kwargs):
    with pytest.raises(SystemExit) as caught:
        tool.convert(*args, **kwargs)
    return str(caught.value)


def test_command_line(masks, capsys):
    tool.main([f'{masks}/src', f'{masks}/out/dst', '--colors', '0,0,0', '#800000',
               '0,128,0', '128,128,0'])
    assert '2 masks written' in capsys.readouterr().out
    out = Image.open(masks / 'out/dst/sub/b.png')
    assert out.mode == 'P'
    np.testing.assert_array_equal(np.asarray(out), INDEX[::-1])
    assert out.getpalette()[:12] == np.ravel(PALETTE).tolist()
    assert sorted(p.name for p in (masks / 'out').iterdir()) == ['dst']


def test_palette_of_a_registered_dataset(masks):
    assert [list(c) for c in tool.registered_palette('NavelOrangeDataset')] == (
        NavelOrangeDataset.METAINFO['palette'])
    assert len(tool.registered_palette('PascalVOCDataset')) == 21
    tool.main([f'{masks}/src', f'{masks}/dst', '--palette-from', 'NavelOrangeDataset'])
    np.testing.assert_array_equal(np.asarray(Image.open(masks / 'dst/a.png')), INDEX)
    for name in ('NoDataset', 'BaseSegDataset'):
        with pytest.raises(SystemExit, match=f'--palette-from {name}: no dataset'):
            tool.registered_palette(name)


def test_our_own_output_reads_back_with_ignored_pixels(masks):
    index = INDEX.copy()
    index[0] = 255
    tool.save_index(index, PALETTE, masks / 'again/a.png')
    with Image.open(masks / 'again/a.png') as mask:
        np.testing.assert_array_equal(to_index(mask), index)
        assert mask.getpalette()[-3:] == [224, 224, 192]


def test_errors_name_files_and_write_nothing(masks):
    bad = RGB.copy()
    bad[0, :5] = (0, 0, 250)
    Image.fromarray(bad).save(masks / 'src/bad.png')
    (masks / 'src/empty.png').write_bytes(b'')
    many = np.random.default_rng(0).integers(200, 256, (4, 4, 3), np.uint8)
    Image.fromarray(many).save(masks / 'src/many.png')
    text = fails(masks / 'src', masks / 'dst', PALETTE)
    assert ('bad.png: colour (0, 0, 250), 5 pixels, nearest class 0 (250 away)'
            in text)
    assert 'empty.png: cannot be decoded' in text
    assert 'many.png: ... and 11 colours more' in text
    assert 'a.png' not in text
    assert sorted(p.name for p in masks.iterdir()) == ['src']


def test_a_folder_without_permission_is_named(masks, monkeypatch):
    plain = os.scandir

    def scandir(path):
        if str(path).endswith('sub'):
            raise PermissionError(13, 'Permission denied', str(path))
        return plain(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    text = fails(masks / 'src', masks / 'dst', PALETTE)
    assert f'{masks / "src" / "sub"}: cannot be read (Permission denied)' in text
    assert not (masks / 'dst').exists()


def test_odd_names(masks):
    try:
        (masks / 'src' / 'two\nlines.png').write_bytes(b'')
        (masks / 'src' / os.fsdecode(b'\xb3\xc8.png')).write_bytes(
            (masks / 'src/a.png').read_bytes())
    except (OSError, ValueError):
        pytest.skip('the file system allows no such name')
    text = fails(masks / 'src', masks / 'dst', PALETTE)
    assert r'two\nlines.png: cannot be decoded' in text
    (masks / 'src' / 'two\nlines.png').unlink()
    assert tool.convert(masks / 'src', masks / 'dst', PALETTE) == 3
    assert (masks / 'dst' / os.fsdecode(b'\xb3\xc8.png')).is_file()


def test_overwriting(masks):
    tool.convert(masks / 'src', masks / 'dst', PALETTE)
    Image.fromarray(RGB[:, ::-1]).save(masks / 'src/a.png')
    assert 'a.png exists' in fails(masks / 'src', masks / 'dst', PALETTE)
    np.testing.assert_array_equal(np.asarray(Image.open(masks / 'dst/a.png')), INDEX)
    assert tool.convert(masks / 'src', masks / 'dst', PALETTE, force=True) == 2
    np.testing.assert_array_equal(
        np.asarray(Image.open(masks / 'dst/a.png')), INDEX[:, ::-1])


def test_source_is_never_the_target(masks):
    before = (masks / 'src/a.png').read_bytes()
    assert 'would be overwritten by its own conversion' in fails(
        masks / 'src', masks / 'src', PALETTE, force=True)
    assert (masks / 'src/a.png').read_bytes() == before


def test_one_file_and_wrong_arguments(masks):
    assert tool.convert(masks / 'src/a.png', masks / 'one', PALETTE) == 1
    assert [p.name for p in (masks / 'one').iterdir()] == ['a.png']
    assert 'no masks found' in fails(masks / 'none', masks / 'dst', PALETTE)
    assert 'two classes have the same colour' in fails(
        masks / 'src', masks / 'dst', [(0, 0, 0), (0, 0, 0)])
    Image.fromarray(RGB).save(masks / 'src/a.bmp')
    (masks / 'src/empty.png').write_bytes(b'')
    text = fails(masks / 'src', masks / 'dst', PALETTE)
    assert 'would both become' in text
    assert 'empty.png: cannot be decoded' in text
    for color in ('1,2', '0,0,256', '#12345', 'red'):
        with pytest.raises(SystemExit, match=f'{color}.* is no colour'):
            tool.parse_color(color)


def test_docstring_examples():
    assert doctest.testmod(tool) == (0, 3)
