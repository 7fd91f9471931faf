import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'browse_dataset.py'
GAP, TILE, LINE = 8, 64, 15
# a title of two lines and a legend of one, then the headings of the columns
TOP = GAP + 3 * LINE + GAP + LINE
CONFIG = """
default_scope = 'mmseg'
pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(
    type='BaseSegDataset',
    data_root={root!r},
    serialize_data=False,
    img_suffix='.png',
    data_prefix=dict(img_path='img', seg_map_path='ann'),
    metainfo=dict(classes=('no', 'yes'), palette=[[0, 0, 0], [0, 200, 0]]),
    pipeline=pipeline))
val_dataloader = None
model = dict(
    data_preprocessor=dict(
        type='SegDataPreProcessor', bgr_to_rgb=True, size=(64, 64)),
    decode_head=dict(ignore_index=254))
"""


@pytest.fixture
def folder(tmp_path):
    for name in ('img', 'ann'):
        (tmp_path / name).mkdir()
    for k in range(7):
        # the shade tells the image; its left half is of the second class
        Image.new('RGB', (64, 64), (30 * k, 30 * k, 200)).save(
            tmp_path / 'img' / f'{k}.png')
        label = np.zeros((64, 64), np.uint8)
        label[:, :32] = 1
        label[48:] = 254
        Image.fromarray(label).save(tmp_path / 'ann' / f'{k}.png')
    (tmp_path / 'config.py').write_text(CONFIG.format(root=str(tmp_path)))
    return tmp_path


@pytest.fixture
def run_tool(folder, monkeypatch, capsys):
    def run(*options, config='config.py', out='sheet.png'):
        monkeypatch.setattr(sys, 'argv', [
            str(TOOL), str(folder / config), '--out', str(folder / out), '--tile',
            str(TILE), *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TOOL), run_name='__main__')
        if ended.value.code:
            raise ended.value
        return capsys.readouterr().out
    return run


def read(path):
    return np.asarray(Image.open(path).convert('RGB'))


def cells(sheet, per_row, top=TOP):
    """Input and label picture of each cell of the first row."""
    for k in range(per_row):
        left = GAP + k * (2 * (TILE + 2) - 2 + GAP)
        yield (sheet[top:top + TILE, left:left + TILE],
               sheet[top:top + TILE, left + TILE + 2:left + 2 * (TILE + 2) - 2])


def is_flipped(label):
    return label[20, 50, 1] > label[20, 10, 1]


def test_sheet_shows_the_first_images_in_their_order(run_tool, folder):
    printed = run_tool('--number', 3)
    assert f'contact sheet: {folder / "sheet.png"}' in printed
    sheet = read(folder / 'sheet.png')
    for k, (image, label) in enumerate(cells(sheet, 3)):
        assert (image == (30 * k, 30 * k, 200)).all()
        columns = slice(34, 62) if is_flipped(label) else slice(2, 30)
        tint = np.rint(0.65 * image[0, 0] + 0.35 * np.array([0, 255, 0]))
        assert (label[2:46, columns] == tint).all()
        # the loss ignores 254
        assert tuple(label[48, 0]) == (255, 0, 255)
        assert tuple(label[48, 4]) == (30 * k, 30 * k, 200)


def test_unlabelled_images_stand_beside_labelled_ones(run_tool, folder):
    """In turns, and without a label that is all ignored."""
    config = folder / 'partly.py'
    config.write_text((folder / 'config.py').read_text() + """
labelled = dict(train_dataloader['dataset'], indices=2)
train_dataloader = dict(dataset=dict(
    type='PartlyLabelledDataset', labelled=labelled, unlabelled=dict(
        type='UnlabelledDataset', ignore_index=254,
        dataset=dict(train_dataloader['dataset'], indices=[6, 5, 4]))))
""")
    run_tool('--number', 5, config='partly.py')
    sheet = read(folder / 'sheet.png')
    first = list(cells(sheet, 3))
    assert [int(image[0, 0, 0]) for image, _ in first] == [0, 180, 30]
    magenta = [(label == (255, 0, 255)).all(-1).any() for _, label in first]
    assert magenta == [True, False, True]


def test_repeats_stand_in_a_row(run_tool, folder):
    run_tool('--number', 2, '--repeats', 6)
    first = list(cells(read(folder / 'sheet.png'), 6))
    assert all((image == (0, 0, 200)).all() for image, _ in first)
    assert {bool(is_flipped(label)) for _, label in first} == {True, False}
    height = (read(folder / 'sheet.png').shape[0] - TOP + LINE) // 2
    second = list(cells(read(folder / 'sheet.png'), 6, TOP + height))
    assert all((image == (30, 30, 200)).all() for image, _ in second)


def test_seed_settles_everything(run_tool, folder):
    options = ('--number', 4, '--repeats', 4, '--shuffle')
    run_tool(*options, '--seed', 5, out='a.png')
    run_tool(*options, '--seed', 5, out='b.png')
    run_tool(*options, '--seed', 6, out='c.png')
    assert (folder / 'a.png').read_bytes() == (folder / 'b.png').read_bytes()
    assert (folder / 'a.png').read_bytes() != (folder / 'c.png').read_bytes()
    run_tool('--number', 3, '--shuffle', out='d.png')
    run_tool('--number', 3, out='e.png')
    order, plain = (
        [int(image[0, 0, 0]) for image, _ in cells(read(folder / name), 3)]
        for name in ('d.png', 'e.png'))
    assert plain == [0, 30, 60]
    assert order == [30 * k for k in np.random.default_rng(0).permutation(7)[:3]]


def test_pages_are_numbered(run_tool, folder):
    printed = run_tool('--number', 99, '--rows', 1, out='new/sheet.jpg')
    assert 'train has 7 images, all are drawn' in printed
    assert sorted(p.name for p in (folder / 'new').iterdir()) == [
        'sheet_1.jpg', 'sheet_2.jpg', 'sheet_3.jpg']
    shades = [image[0, 0, 0] for image, _ in cells(
        read(folder / 'new' / 'sheet_3.jpg'), 1)]
    assert abs(int(shades[0]) - 180) < 6


def test_command_line_overrides_the_config(run_tool, folder):
    for prob in (0.0, 1.0):
        run_tool('--number', 3, '--cfg-options',
                 f'train_dataloader.dataset.pipeline.2.prob={prob}')
        labels = [label for _, label in cells(read(folder / 'sheet.png'), 3)]
        assert [is_flipped(label) for label in labels] == [prob == 1] * 3


@pytest.mark.parametrize(('options', 'words'), [
    (['--split', 'tset'], "argument --split: invalid choice: 'tset'"),
    (['--split', 'test'], 'has no test_dataloader, expected the name of a split that '
                          'it has (train); choose one by --split'),
    (['--split', 'val'], 'has no val_dataloader'),
    (['--number', '0'], '--number is 0, expected 1 or more'),
    (['--repeats', '-1'], '--repeats is -1, expected 1 or more'),
    (['--repeats', '500'], '--repeats 500, --rows 6 and --tile 64 make a page of'),
    (['--rows', '500'], '--repeats 1, --rows 500 and --tile 64 make a page of'),
    (['--tile', '10'], '--tile is 10, expected 64 or more'),
    (['--out', 'sheet.gif'], 'expected a name ending in .jpg or .png'),
    (['--cfg-options', 'train_dataloader.dataset.data_root=/nowhere'], '/nowhere'),
])
def test_wrong_command_lines_are_told_in_one_line(
        run_tool, folder, capsys, options, words):
    with pytest.raises(SystemExit) as caught:
        run_tool(*options)
    said = capsys.readouterr().err.strip().splitlines()
    assert caught.value.code == 2
    assert said[-1].startswith('error: ')
    assert words in said[-1]
    assert not any(line.startswith(('usage', 'Traceback')) for line in said)
    assert not (folder / 'sheet.png').exists()


def test_missing_config_and_unwritable_out_are_told(run_tool, folder, capsys):
    with pytest.raises(SystemExit) as caught:
        run_tool(config='none.py')
    assert caught.value.code == 2
    assert 'none.py: no such config file' in capsys.readouterr().err
    # a file where the folder should be
    with pytest.raises(SystemExit) as caught:
        run_tool(out='config.py/sheet.png')
    assert caught.value.code == 2
    assert 'sheet.png cannot be written' in capsys.readouterr().err


def test_an_image_that_fails_costs_no_other(run_tool, folder, capsys):
    (folder / 'img' / '1.png').write_bytes(b'no picture')
    Image.new('L', (1, 1)).save(folder / 'ann' / '2.png')
    with pytest.raises(SystemExit) as caught:
        run_tool('--number', 4)
    assert caught.value.code == 1
    said = capsys.readouterr()
    assert f'contact sheet: {folder / "sheet.png"}' in said.out
    first, second = said.err.splitlines()[-2:]
    assert first.startswith(f'not drawn: {folder / "img" / "1.png"} does not pass')
    assert second.startswith(f'not drawn: {folder / "img" / "2.png"} does not pass')
    shades = [image[0, 0, 0] for image, _ in cells(read(folder / 'sheet.png'), 2)]
    assert shades == [0, 90]


def test_no_image_that_can_be_drawn(run_tool, folder, capsys):
    for path in (folder / 'img').iterdir():
        path.write_bytes(b'no picture')
    with pytest.raises(SystemExit) as caught:
        run_tool()
    assert caught.value.code == 2
    assert not (folder / 'sheet.png').exists()


@pytest.mark.parametrize(('name', 'shown'), [
    (b'two\nlines.png', r'two\nlines.png'), (b'\xb3\xc8.png', r'\xb3\xc8.png')])
def test_odd_names_are_drawn_escaped(run_tool, folder, name, shown, monkeypatch):
    for kind in ('img', 'ann'):
        try:
            (folder / kind / '0.png').rename(folder / kind / os.fsdecode(name))
        except (OSError, ValueError):
            pytest.skip('the file system allows no such name')
        for k in range(1, 7):
            (folder / kind / f'{k}.png').unlink()
    words = []
    plain = ImageDraw.ImageDraw.text

    def text(self, where, line, *args, **kwargs):
        words.append(line)
        plain(self, where, line, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, 'text', text)
    run_tool()
    assert shown in words
