import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine import Config
from mmseg.registry import MODELS
from PIL import Image

from fastsegformer_mm.datasets.synthetic import write_set
from fastsegformer_mm.visualization import overlay_sheet, pick_samples

TOOL = Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'overlay_sheet.py'
CLASSES = ('background', 'sunburn', 'ulcer', 'wind scarring')
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
GAP = 8

CONFIG = """
default_scope = 'mmseg'
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs')
]
test_dataloader = dict(dataset=dict(
    type='BaseSegDataset',
    data_root={root!r},
    ann_file='ImageSets/Segmentation/test.txt',
    img_suffix='.jpg',
    seg_map_suffix='.png',
    data_prefix=dict(img_path='JPEGImages', seg_map_path='SegmentationClass'),
    metainfo=dict(classes={classes}, palette={palette}),
    pipeline=test_pipeline))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor'),
    backbone=dict(
        type='ResNetV1c', depth=18, base_channels=8, stem_channels=8, num_stages=4,
        out_indices=(0, 1, 2, 3), norm_cfg=dict(type='BN')),
    decode_head=dict(
        type='FCNHead', in_channels=64, channels=8, num_convs=1, num_classes=4,
        norm_cfg=dict(type='BN')),
    test_cfg=dict(mode='whole'))
"""


def square(value, where=slice(16, 48), size=64):
    label = np.zeros((size, size), np.int64)
    label[where, where] = value
    return label


def grey(size=64, value=100):
    return np.full((size, size, 3), value, np.uint8)


def column(sheet, k, tile=64, top=8 + 14):
    left = GAP + k * (tile + GAP)
    return sheet[top:top + tile, left:left + tile]


def test_cells_show_image_label_and_prediction():
    sheet = overlay_sheet([grey()], [square(2)], [square(1)], CLASSES, PALETTE, tile=64)
    image, label, prediction = (column(sheet, k) for k in range(3))
    assert (image == 100).all()
    # full brightness of the palette's colour on the outline, a tint within
    for cell, colour in ((label, (0, 255, 0)), (prediction, (255, 0, 0))):
        assert (cell[16, 16:48] == colour).all()
        assert (cell[16:48, 47] == colour).all()
        tint = np.rint(0.65 * 100 + 0.35 * np.array(colour))
        assert (cell[18:46, 18:46] == tint).all()
        assert (cell[:15] == 100).all()
    assert sheet.shape[1] == GAP + 3 * (64 + GAP)


def test_label_column_is_left_out_without_labels():
    sheet = overlay_sheet([grey()], None, [square(1)], CLASSES, PALETTE, tile=64)
    assert sheet.shape[1] == GAP + 2 * (64 + GAP)
    assert (column(sheet, 1)[16, 16:48] == (255, 0, 0)).all()
    # one label among several samples keeps the column
    sheet = overlay_sheet(
        [grey(), grey()], [None, square(1)], [square(1)] * 2, CLASSES, PALETTE, tile=64)
    assert sheet.shape[1] == GAP + 3 * (64 + GAP)


def test_options_change_the_sheet():
    common = ([grey()], [square(1)], [square(1)], CLASSES, PALETTE)
    opaque = overlay_sheet(*common, tile=64, opacity=1.0)
    assert (column(opaque, 1)[16:48, 16:48] == (255, 0, 0)).all()
    clear = overlay_sheet(*common, tile=64, opacity=0.0)
    assert (column(clear, 1)[18:46, 18:46] == 100).all()
    tinted = overlay_sheet(*common, tile=64, opacity=0.5, background=None)
    assert (column(tinted, 1)[4, 4] == 50).all()
    large = overlay_sheet(*common, tile=128)
    assert large.shape[1] == GAP + 3 * (128 + GAP)
    titled = overlay_sheet(*common, tile=64, title='network')
    assert titled.shape[0] - opaque.shape[0] == 14
    named = overlay_sheet(*common, tile=64, names=['img0001'])
    assert (named != overlay_sheet(*common, tile=64)).any()


def test_a_defect_of_few_pixels_survives_the_reduction():
    label = np.zeros((512, 512), np.int64)
    label[100:103, 200:203] = 3
    sheet = overlay_sheet(
        [grey(512)], [label], [label], CLASSES, PALETTE, tile=128, background=0)
    assert (column(sheet, 1, 128, 8 + 14) == (255, 255, 0)).all(axis=2).any()


def test_wide_images_keep_their_shape():
    image = np.full((32, 64, 3), 100, np.uint8)
    index = np.zeros((32, 64), np.int64)
    sheet = overlay_sheet([image], [index], [index], CLASSES, PALETTE, tile=64)
    cell = column(sheet, 0)
    assert (cell[:32] == 100).all()
    assert not (cell[33:] == 100).all(axis=2).any()


def captions(monkeypatch, *args, **kwargs):
    """All lines of text that are written on a sheet."""
    module = sys.modules[overlay_sheet.__module__]
    lines = []
    write = module.write
    monkeypatch.setattr(
        module, 'write', lambda pen, where, words, *rest, **more: (
            lines.append(words), write(pen, where, words, *rest, **more)))
    overlay_sheet(*args, **kwargs)
    return lines


def test_captions_and_legend_say_iou_and_shares(monkeypatch):
    # 1024 label pixels of ulcer, half of them predicted
    prediction = square(2)
    prediction[:, 32:] = 0
    lines = captions(
        monkeypatch, [grey()], [square(2)], [prediction], CLASSES, PALETTE,
        names=['img7'], title='my net')
    background = 3072 / (3072 + 512)
    assert lines == [
        'my net', 'image', 'label', 'prediction',
        f'img7  mIoU {50 * (0.5 + background):.1f} % '
        f'(background {100 * background:.0f}, ulcer 50)',
        'share of pixels',
        'background:  label 75.00 %,  prediction 87.50 %',
        'sunburn:  label 0.00 %,  prediction 0.00 %',
        'ulcer:  label 25.00 %,  prediction 12.50 %',
        'wind scarring:  label 0.00 %,  prediction 0.00 %']


def test_ignored_pixels_count_for_nothing(monkeypatch):
    label = square(2)
    label[:, 32:] = 255
    lines = captions(
        monkeypatch, [grey()], [label], [square(2)], CLASSES, PALETTE)
    assert lines[3] == 'mIoU 100.0 % (background 100, ulcer 100)'
    other = captions(
        monkeypatch, [grey()], [np.full((64, 64), 9)], [square(0)], CLASSES, PALETTE,
        ignore_index=9)
    assert other[3] == 'no labelled pixels'


def test_wrong_arguments_are_named():
    fine = [[grey()], [square(1)], [square(1)], CLASSES, PALETTE]
    with pytest.raises(ValueError, match='got 1, 2, 1 and 1 images'):
        overlay_sheet(fine[0], fine[1], fine[2] * 2, CLASSES, PALETTE)
    with pytest.raises(ValueError, match='at least one'):
        overlay_sheet([], None, [], CLASSES, PALETTE)
    with pytest.raises(ValueError, match='4 class names but 3 colours'):
        overlay_sheet(*fine[:4], PALETTE[:3])
    with pytest.raises(ValueError, match='tile is 10 pixels'):
        overlay_sheet(*fine, tile=10)
    with pytest.raises(ValueError, match=r'label 0 \(img1\) has shape \(8, 8\)'):
        overlay_sheet(fine[0], [square(1, size=8)], *fine[2:], names=['img1'])


def test_samples_are_picked_to_show_every_class():
    counts = [[9, 0, 0, 0], [9, 5, 0, 0], [9, 5, 0, 0], [9, 0, 1, 0], [9, 0, 0, 1]]
    assert pick_samples(counts, 3, background=0) == [1, 3, 4]
    assert pick_samples(counts, 9, background=0) == [0, 1, 2, 3, 4]
    assert pick_samples([[9, 1], [0, 3]], 1, background=0) == [0]
    assert pick_samples([[0, 1], [9, 3]], 1) == [1]


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Config and checkpoint of a network that calls everything an ulcer."""
    folder = tmp_path_factory.mktemp('overlay')
    write_set(folder / 'set', num=10, size=96, workers=1)
    config = folder / 'tiny.py'
    config.write_text(CONFIG.format(
        root=str(folder / 'set'), classes=CLASSES, palette=PALETTE))
    from mmseg.utils import register_all_modules
    register_all_modules(init_default_scope=True)
    model = MODELS.build(Config.fromfile(config).model)
    with torch.no_grad():
        model.decode_head.conv_seg.weight.zero_()
        model.decode_head.conv_seg.bias.copy_(torch.tensor([0., 0., 1., 0.]))
    meta = {'dataset_meta': {'classes': CLASSES, 'palette': PALETTE}}
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, folder / 'tiny.pth')
    return folder


@pytest.fixture
def run_tool(network, monkeypatch, capsys):
    def run(*options, config='tiny.py', checkpoint='tiny.pth'):
        monkeypatch.setattr(sys, 'argv', [
            str(TOOL), str(network / config), str(network / checkpoint),
            '--device', 'cpu', *map(str, options)])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(TOOL), run_name='__main__')
        if ended.value.code:
            raise ended.value
        return capsys.readouterr().out
    return run


def test_command_line_shows_a_split(run_tool, tmp_path):
    out = tmp_path / 'new' / 'sheet.png'
    printed = run_tool('--out', out, '--num', '2', '--tile', '96')
    assert f'overlay sheet of 2 images: {out}' in printed
    sheet = np.array(Image.open(out).convert('RGB')).astype(int)
    assert sheet.shape[1] == GAP + 3 * (96 + GAP)
    # the prediction is all ulcer: a green outline along the picture's border
    left = GAP + 2 * (96 + GAP)
    edge = sheet[8 + 2 * 14 + 10:8 + 2 * 14 + 80, left]
    assert (edge == (0, 255, 0)).all()
    again = tmp_path / 'again.png'
    run_tool('--out', again, '--num', '2', '--tile', '96')
    assert again.read_bytes() == out.read_bytes()


def test_command_line_shows_images_without_labels(run_tool, network, tmp_path):
    photos = network / 'set' / 'JPEGImages'
    out = tmp_path / 'sheet.jpg'
    printed = run_tool('--out', out, '--num', '3', '--tile', '64', '--images',
                       photos / 'img0001.jpg', photos)
    assert '11 images, the first 3 are shown' in printed
    assert Image.open(out).size[0] == GAP + 2 * (64 + GAP)


def test_command_line_overrides_the_config(run_tool, tmp_path):
    out = tmp_path / 'sheet.png'
    printed = run_tool(
        '--out', out, '--num', '9', '--tile', '64', '--cfg-options',
        'test_dataloader.dataset.ann_file=ImageSets/Segmentation/train.txt')
    assert 'overlay sheet of 6 images' in printed


@pytest.mark.parametrize(('options', 'words'), [
    (['--split', 'val'], 'no val_dataloader'),
    (['--images', '/no/such/photo.jpg'], '/no/such/photo.jpg: no such file'),
])
def test_command_line_names_what_is_wrong(run_tool, tmp_path, options, words):
    with pytest.raises(SystemExit, match=words):
        run_tool('--out', tmp_path / 'sheet.png', *options)
    assert not list(tmp_path.iterdir())


def test_command_line_names_a_missing_file_and_a_wrong_suffix(
        run_tool, tmp_path, capsys):
    with pytest.raises(SystemExit, match=r'none\.pth: no such file'):
        run_tool('--out', tmp_path / 'sheet.png', checkpoint='none.pth')
    with pytest.raises(SystemExit):
        run_tool('--out', tmp_path / 'sheet.gif')
    assert 'expected a name ending in .png or .jpg' in capsys.readouterr().err


def test_a_file_that_fails_costs_no_other(run_tool, network, tmp_path, capsys):
    set_ = network / 'set'
    names = (set_ / 'ImageSets/Segmentation/test.txt').read_text().split()
    label = set_ / f'SegmentationClass/{names[0]}.png'
    photo = set_ / f'JPEGImages/{names[0]}.jpg'
    kept = label.read_bytes(), photo.read_bytes()
    out = tmp_path / 'sheet.png'
    try:
        label.write_bytes(b'no picture')
        with pytest.raises(SystemExit) as caught:
            run_tool('--out', out, '--tile', '64')
        said = capsys.readouterr()
        assert caught.value.code == 1
        assert f'overlay sheet of {len(names) - 1} images' in said.out
        assert said.err.splitlines()[-1].startswith(f'not drawn: {photo}: ')
        photo.write_bytes(b'no picture')
        with pytest.raises(SystemExit) as caught:
            run_tool('--out', out, '--tile', '64', '--images', photo,
                     set_ / f'JPEGImages/{names[1]}.jpg')
        said = capsys.readouterr()
        assert caught.value.code == 1
        assert 'overlay sheet of 1 images' in said.out
        assert said.err.splitlines()[-1].startswith(f'not drawn: {photo}: ')
        with pytest.raises(SystemExit, match='error: nothing to draw: '):
            run_tool('--out', out, '--tile', '64', '--images', photo)
    finally:
        label.write_bytes(kept[0])
        photo.write_bytes(kept[1])
