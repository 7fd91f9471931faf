"""Splitting a VOC-layout folder: shares, balance, checks."""

import importlib.util
import os
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PATH = Path(__file__).parents[2] / 'tools/dataset_converters/split_voc.py'
spec = importlib.util.spec_from_file_location('split_voc', PATH)
split_voc = importlib.util.module_from_spec(spec)
spec.loader.exec_module(split_voc)


def add(root, name, values, size=(6, 4), suffix='.jpg'):
    """An image, and a label that holds the values in turn."""
    for folder in ('JPEGImages', 'SegmentationClass'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.new('RGB', size).save(root / f'JPEGImages/{name}{suffix}')
    label = np.resize(np.array(values, np.uint8), size[::-1])
    Image.fromarray(label).save(root / f'SegmentationClass/{name}.png')


@pytest.fixture
def root(tmp_path):
    """Twenty images: 1 in every second, 2 in five, 3 in the last five."""
    for i in range(20):
        add(tmp_path, f'img{i:02}', [0, i % 2, 2 * (i % 4 == 0), 3 * (i >= 15)])
    return tmp_path


def read(root, name, out='ImageSets/Segmentation'):
    return (root / out / f'{name}.txt').read_text().split()


def fails(root, **kwargs):
    with pytest.raises(SystemExit) as caught:
        split_voc.split(root, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize('balanced', [False, True])
def test_every_image_once_in_the_asked_shares(root, balanced):
    written = split_voc.split(root, balanced=balanced)
    assert [len(written[n]) for n in ('train', 'val', 'test')] == [12, 4, 4]
    assert sorted([*chain(*written.values())]) == [f'img{i:02}' for i in range(20)]
    for name, members in written.items():
        assert read(root, name) == members == sorted(members)


@pytest.mark.parametrize('balanced', [False, True])
def test_seed(root, balanced):
    splits = [split_voc.split(root, seed=seed, balanced=balanced, force=True)
              for seed in (0, 0, 1)]
    assert splits[0] == splits[1] != splits[2]


@pytest.mark.parametrize(('total', 'ratios', 'sizes'), [
    (1448, (6, 2, 2), [869, 290, 289]), (10, (8, 2), [8, 2]),
    (10, (1, 1, 1), [4, 3, 3]), (3, (6, 2, 2), [1, 1, 1]), (4, (98, 1, 1), [2, 1, 1]),
    (5, (1, 0, 0), [5, 0, 0]), (7, (0.5, 0, 0.5), [4, 0, 3]),
])
def test_sizes(total, ratios, sizes):
    assert split_voc.split_sizes(total, ratios) == sizes


def test_too_few_images():
    with pytest.raises(SystemExit, match=r'2 labelled image\(s\) cannot fill 3 splits'):
        split_voc.split_sizes(2, (6, 2, 2))


def test_balanced_shares_out_rare_classes():
    rng = np.random.default_rng(0)
    # every fourth image shows class 1, one in ten class 2, one in twenty class 3
    present = np.ones((200, 4), bool)
    present[:, 1:] = rng.random((200, 3)) < [0.25, 0.1, 0.05]
    sizes = [120, 40, 40]
    blind = []
    for seed in range(20):
        assigned = split_voc.assign_balanced(present, sizes, seed)
        assert np.bincount(assigned).tolist() == sizes
        for s, size in enumerate(sizes):
            wanted = present.sum(0) * size / 200
            assert np.abs(present[assigned == s].sum(0) - wanted).max() <= 1.5
        random = split_voc.assign_random(200, sizes, seed)
        assert np.bincount(random).tolist() == sizes
        blind += [np.abs(present[random == s].mean(0) - present.mean(0)).max() * size
                  for s, size in enumerate(sizes)]
    assert max(blind) > 4


def test_images_without_any_class_are_shared_out():
    assigned = split_voc.assign_balanced(np.zeros((10, 3), bool), [6, 2, 2], 0)
    assert np.bincount(assigned).tolist() == [6, 2, 2]


def test_two_splits_another_folder_and_the_table(root, capsys):
    split_voc.main([str(root), '--ratios', '3', '1', '--out', 'lists', '--balanced',
                    '--classes', 'peel', 'a', 'b', 'c'])
    assert len(read(root, 'train', 'lists')) == 15
    assert len(read(root, 'val', 'lists')) == 5
    assert not (root / 'lists/test.txt').exists()
    assert not (root / 'ImageSets').exists()
    table = {line.split()[0]: line.split()[1:]
             for line in capsys.readouterr().out.splitlines() if ' %)' in line}
    # class a is in ten images, c in five
    assert [int(table['a'][0]) + int(table['a'][4])] == [10]
    assert [int(table['c'][0]) + int(table['c'][4])] == [5]
    assert set(table) == {'peel', 'a', 'b', 'c'}


def test_pixel_shares_of_the_table():
    pixels = np.array([[75, 25], [100, 0], [50, 50]])
    text = split_voc.summary(('sky', 'sea'), pixels, np.array([0, 0, 1]))
    rows = [line.split() for line in text.splitlines()]
    assert rows[0] == ['train', 'val']
    assert rows[1] == ['images', '2', '1']
    assert rows[2] == ['sky', '2', '(', '87.50', '%)', '1', '(', '50.00', '%)']
    assert rows[3] == ['sea', '1', '(', '12.50', '%)', '1', '(', '50.00', '%)']


def test_nothing_is_overwritten_without_force(root):
    split_voc.split(root)
    before = read(root, 'train')
    assert 'train.txt exists' in fails(root, seed=1)
    assert read(root, 'train') == before
    split_voc.split(root, seed=1, ratios=(8, 2), force=True)
    assert read(root, 'train') != before
    # the old test images are in the new training split
    assert not (root / 'ImageSets/Segmentation/test.txt').exists()


def spoil_size(root):
    add(root, 'bad', [0], size=(6, 5))
    Image.new('RGB', (7, 5)).save(root / 'JPEGImages/bad.jpg')


def spoil_mode(root):
    add(root, 'bad', [0])
    Image.new('RGB', (6, 4)).save(root / 'SegmentationClass/bad.png')


def spoil_image(root):
    add(root, 'bad', [0])
    (root / 'JPEGImages/bad.jpg').write_bytes(b'')


def spoil_decoder(root):
    """A header that lets Pillow's decoder fail with something else than OSError."""
    add(root, 'bad', [0])
    path = root / 'SegmentationClass/bad.png'
    path.write_bytes(path.read_bytes()[:20] + b'\0' * 8)


def spoil_rotation(root):
    add(root, 'bad', [0])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (6, 4)).save(root / 'JPEGImages/bad.jpg', exif=exif)


@pytest.mark.parametrize(('spoil', 'message'), [
    (spoil_size, 'bad.png: image 7x5, label 6x5'),
    (spoil_mode, 'bad.png: label mode RGB, expected 8-bit indices'),
    (spoil_image, 'bad.png: cannot be decoded'),
    (spoil_decoder, 'bad.png: cannot be decoded'),
    (spoil_rotation, 'bad.png: the image has an EXIF rotation'),
    (lambda root: add(root, 'bad', [0], size=(1, 1)),
     "bad.png: 1x1: MMSegmentation's LoadAnnotations drops sides of one pixel"),
    (lambda root: Image.new('RGB', (6, 4)).save(root / 'JPEGImages/img03.png'),
     'JPEGImages/img03.png: beside img03.jpg, two images for one label'),
    (lambda root: add(root, ' bad', [0]),
     'JPEGImages/ bad.jpg: blanks around the name'),
    (lambda root: add(root, 'bad', [0, 4]),
     'bad.png: label value 4 (12 pixels), expected 0 to 3 or 255'),
    (lambda root: (root / 'JPEGImages/img03.jpg').unlink(),
     'SegmentationClass/img03.png: no '),
    (lambda root: (root / 'SegmentationClass/img03.png').unlink(),
     'JPEGImages/img03.jpg: no '),
])
def test_faults_are_named_and_nothing_is_written(root, spoil, message):
    spoil(root)
    text = fails(root, classes='abcd')
    assert f'{root}: 1 problem(s), nothing was written' in text
    assert message in text
    assert not (root / 'ImageSets').exists()


@pytest.mark.parametrize(('name', 'message'), [
    ('two\nlines', r'two\nlines.jpg: a line break or control character in the name'),
    (os.fsdecode('橙'.encode('gbk')), r'\udcb3\udcc8.jpg: the name is not UTF-8'),
])
def test_names_that_no_list_can_hold(root, name, message):
    try:
        add(root, name, [0])
    except (OSError, ValueError):
        pytest.skip('the file system allows no such name')
    text = fails(root, classes='abcd')
    assert f'{root / "JPEGImages"}{os.sep}{message}' in text
    # a line for the head, a line for the fault, whatever the name
    assert len(text.splitlines()) == 2
    text.encode()
    assert not (root / 'ImageSets').exists()


def test_chinese_names_are_written_as_utf8(root):
    add(root, '橙子', [0, 1])
    written = split_voc.split(root, ratios=(1, 1))
    lists = [(root / f'ImageSets/Segmentation/{name}.txt').read_text('utf-8').split()
             for name in ('train', 'val')]
    assert lists == [written['train'], written['val']]
    assert '橙子' in lists[0] + lists[1]


@pytest.mark.parametrize('call', ['write_text', 'replace'])
def test_a_full_disk_leaves_the_old_lists(root, monkeypatch, call):
    split_voc.split(root)
    folder = root / 'ImageSets/Segmentation'
    before = {path.name: path.read_text() for path in folder.iterdir()}

    def full(*args, **kwargs):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(
        split_voc.Path if call == 'write_text' else split_voc.os, call, full)
    text = fails(root, seed=1, force=True)
    assert text.startswith(f'{folder} cannot be written (No space left on device)')
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_a_folder_without_permission_is_named(root, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(split_voc.os, 'listdir', refuse)
    assert fails(root) == (f'{root / "JPEGImages"} cannot be read (Permission denied): '
                           'see to its permissions')


def test_many_faults_are_counted(root):
    for i in range(14):
        add(root, f'bad{i}', [9])
    text = fails(root, classes='abcd')
    assert '14 problem(s)' in text
    assert 'and 4 more' in text


def test_unlabelled_images_can_be_left_out(root):
    Image.new('RGB', (6, 4)).save(root / 'JPEGImages/new.jpg')
    assert 'pass --skip-unlabelled' in fails(root)
    written = split_voc.split(root, skip_unlabelled=True)
    assert 'new' not in [*chain(*written.values())]


def test_ignored_pixels_are_no_class(root):
    add(root, 'ignored', [255, 1])
    names, pixels = split_voc.read_set(root, 4)
    assert pixels[names.index('ignored')].tolist() == [0, 12, 0, 0]


def test_other_image_suffix(tmp_path):
    for i in range(4):
        add(tmp_path, f'shot.{i}', [0, 1], suffix='_rgb.png')
    written = split_voc.split(tmp_path, ratios=(1, 1), img_suffix='_rgb.png')
    assert sorted([*chain(*written.values())]) == [f'shot.{i}' for i in range(4)]
    assert 'JPEGImages has no *.jpg' in fails(tmp_path, out='x')


def test_classes_are_counted_when_not_named(root, capsys):
    split_voc.split(root)
    out = capsys.readouterr().out
    assert 'class 3' in out
    assert 'class 4' not in out
    # one class more: fine; a value far off: a colour, not an index
    add(root, 'more', [4, 255])
    split_voc.split(root, force=True)
    assert 'class 4' in capsys.readouterr().out
    add(root, 'grey', [0, 128])
    text = fails(root, force=True)
    assert 'SegmentationClass/grey.png: label value 128, but no label' in text
    assert 'holds 5: ' in text


def test_black_and_white_masks_are_no_labels(tmp_path):
    for i in range(4):
        add(tmp_path, f'{i}', [0, 255])
    text = fails(tmp_path, ratios=(1, 1))
    assert '0.png: label value 0, but no label of the set holds 1' in text
    assert 'color_masks_to_index.py' in text
    assert len(split_voc.split(tmp_path, ratios=(1, 1), classes=['one'])) == 2


def test_no_set_at_all(tmp_path):
    assert f'{tmp_path}/JPEGImages has no *.jpg' in fails(tmp_path)


@pytest.mark.parametrize('ratios', [(1,), (1, 1, 1, 1), (1, -1, 1), (0, 0, 0)])
def test_bad_ratios(root, ratios):
    assert 'expected two or three shares' in fails(root, ratios=ratios)
