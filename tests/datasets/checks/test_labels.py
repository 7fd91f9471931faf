"""Labels: colours, values, sizes, depth, what is ignored."""

import importlib.util
import io
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.datasets.checks import check_dataset

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
add, config, make, paths, stripes = (
    tiny[k] for k in ('add', 'config', 'make', 'paths', 'stripes'))
PALETTE = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]], np.uint8)


def check(root, **changes):
    return check_dataset(config(root, **changes), ['train']).problems


def brief(problems):
    return [(p.kind, p.severity, p.file, p.value) for p in problems]


def relabel(root, label, name='train0'):
    path = paths(root, 'train', name)[1]
    (label if isinstance(label, Image.Image) else Image.fromarray(label)).save(path)
    return str(path)


@pytest.fixture
def root(tmp_path):
    return make(tmp_path, splits=['train'])


@pytest.fixture(scope='module')
def converter():
    """The script that the messages name, as a module."""
    path = tiny['ROOT'] / 'tools/dataset_converters/color_masks_to_index.py'
    spec = importlib.util.spec_from_file_location('color_masks_to_index', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'three equal channels', 'own'])
def test_masks_loaded_as_colours_are_put_right_by_the_command(
        root, converter, mode):
    colours = PALETTE
    changes = {}
    if mode == 'three equal channels':
        colours = np.arange(4, dtype=np.uint8)[:, None].repeat(3, 1)
    if mode == 'own':
        colours = PALETTE[::-1]
        changes = dict(metainfo=dict(palette=colours.tolist()))
    for name in ('train0', 'train1'):
        picture = Image.fromarray(colours[stripes()])
        path = relabel(root, picture.convert('RGBA') if mode == 'RGBA' else picture,
                       name)
    problems = check(root, **changes)
    channels = 4 if mode == 'RGBA' else 3
    assert brief(problems)[1] == (
        'label-is-colours', 'error', path,
        f'{"RGBA" if channels == 4 else "RGB"} mask, loaded as 24x32x{channels}')
    assert problems[1].expected == 'one class index a pixel (HxW)'
    folder = f'{root}/annotations/train'
    command, script = problems[1].way_out, 'color_masks_to_index.py'
    assert command.startswith(f'python tools/dataset_converters/{script} {folder} '
                              f'{folder}_index --')
    assert command.endswith('and set train_dataloader.dataset.data_prefix.'
                            f'seg_map_path to {folder}_index')
    converter.main(shlex.split(command.split(' and set ')[0])[2:])
    cfg = config(root, **changes)
    cfg.train_dataloader.dataset.data_prefix.seg_map_path = f'{folder}_index'
    report = check_dataset(cfg, ['train'])
    assert report.problems == []
    assert report.splits['train'].class_pixels.tolist() == [2 * 24 * 8] * 4


def palette_png(indices, palette=PALETTE):
    picture = Image.fromarray(indices).convert('P')
    picture.putpalette(palette.ravel().tolist())
    return picture


def test_palette_masks_are_fine_where_the_backend_reads_indices(root):
    path = relabel(root, palette_png(stripes()))
    cfg = config(root)
    report = check_dataset(cfg, ['train'])
    assert report.problems == []
    assert report.splits['train'].class_pixels.tolist() == [2 * 24 * 8] * 4
    cfg.train_dataloader.dataset.pipeline[1].imdecode_backend = 'cv2'
    [problem] = check_dataset(cfg, ['train']).problems
    assert brief([problem]) == [(
        'label-is-colours', 'error', path,
        "palette PNG, imdecode_backend='cv2' loads its colours (24x32x3)")]
    assert problem.way_out == "set imdecode_backend='pillow' in LoadAnnotations"


def test_palette_in_another_order(root):
    path = relabel(root, palette_png(stripes(), PALETTE[[0, 2, 1, 3]]))
    [problem] = check(root)
    assert brief([problem]) == [(
        'palette-order', 'warning', path, 'index 1 (inclusion) has the colour of '
        'patch in the palette of the file, 0,128,0')]
    assert problem.way_out.endswith('--palette-from NEUSegDataset --trust colors')


def test_values_beyond_the_classes(root):
    label = stripes()
    label[:12, 8:16] = 7
    label[0, 0] = 9
    path = relabel(root, label)
    [problem] = check(root)
    assert brief([problem]) == [(
        'label-out-of-range', 'error', path,
        'values 7 (12.5 %), 9 (0.1 %) of the pixels')]
    assert problem.expected == '0 to 3, or 255 for ignored'
    assert 'metainfo and set num_classes' in problem.way_out


def test_labels_that_count_from_one(root):
    relabel(root, stripes() + 1)
    problem = check(root)[0]
    assert (problem.kind, problem.value) == (
        'label-out-of-range', 'values 4 (25.0 %) of the pixels')
    assert problem.way_out.startswith(
        'the labels seem to count from 1: set train_dataloader.dataset.'
        'reduce_zero_label=True')
    relabel(root, stripes() + 1, 'train1')
    changes = dict(reduce_zero_label=True, metainfo=dict(
        classes=('inclusion', 'background', 'patch', 'scratch')))
    assert [p.kind for p in check(root, **changes)] == ['reduce-zero-label']
    changes = dict(reduce_zero_label=True, type='BaseSegDataset', metainfo=dict(
        classes=('a', 'b', 'c', 'd'), palette=PALETTE.tolist()))
    assert check(root, **changes) == []


def test_grey_levels_as_colours(root):
    relabel(root, (stripes(classes=32) * 7 + 5).astype(np.uint8))
    problem = check(root)[0]
    assert problem.kind == 'label-out-of-range'
    assert ' and 24 more values of the pixels' in problem.value
    assert '--colors with the grey of each class' in problem.way_out


def test_values_that_reduce_zero_label_and_label_map_make(root):
    """Classes chosen by name: the others are ignored, and nothing is out of range."""
    cfg = config(root, type='NavelOrangeDataset', ann_file='', metainfo=dict(
        classes=('ulcer', 'sunburn')))
    cfg.model.decode_head.num_classes = 2
    report = check_dataset(cfg, ['train'])
    assert report.problems == []
    split = report.splits['train']
    assert split.class_pixels.tolist() == [384, 384]
    assert split.ignored_pixels == 2 * 384


def test_ignored_pixels_count_by_the_index_that_training_ignores(root):
    label = stripes()
    label[:, :8] = 200
    path = relabel(root, label)
    assert brief(check(root)) == [(
        'label-out-of-range', 'error', path, 'values 200 (25.0 %) of the pixels')]
    cfg = config(root, ignore_index=200)
    cfg.model.decode_head.ignore_index = 200
    report = check_dataset(cfg, ['train'])
    assert report.problems == []
    assert report.splits['train'].ignored_pixels == 24 * 8
    label[:, :8] = 255
    relabel(root, label)
    problem = check_dataset(cfg, ['train']).problems[0]
    assert problem.value == 'values 255 (25.0 %) of the pixels'
    assert problem.way_out.startswith('set ignore_index=255, not 200')


def test_size_differs(root):
    path = relabel(root, stripes((16, 24)))
    [problem] = check(root)
    assert brief([problem]) == [('size-differs', 'error', path, '16x24')]
    assert problem.expected == "24x32, the image's"
    assert 'export the label again' in problem.way_out


def test_sixteen_bits(root):
    label = stripes().astype(np.uint16)
    relabel(root, label)
    assert check(root) == []
    label[label == 3] = 256 + 2
    path = relabel(root, label)
    [problem] = check(root)
    assert brief([problem]) == [
        ('label-16-bit', 'error', path, '16-bit value 258, loaded as 2')]
    assert problem.expected == '8-bit values, 0 to 3 or 255'


def test_jpeg_label(root):
    data = io.BytesIO()
    Image.fromarray(stripes()).save(data, 'JPEG')
    path = paths(root, 'train', 'train0')[1]
    path.write_bytes(data.getvalue())
    assert ('label-jpeg', 'error', str(path)) in [p[:3] for p in brief(check(root))]


@pytest.mark.parametrize(('cut', 'text'), [(.5, 'truncated'), (.8, '')])
def test_truncated_and_empty(root, cut, text):
    path = paths(root, 'train', 'train0')[1]
    data = path.read_bytes()
    path.write_bytes(data[:int(cut * len(data))])
    paths(root, 'train', 'train1')[1].write_bytes(b'')
    broken, empty = check(root, reduce_zero_label=False)[:2]
    assert (broken.kind, broken.severity, broken.file) == (
        'undecodable-file', 'error', str(path))
    assert re.match(rf'{int(cut * len(data))} bytes, .*{text}', broken.value)
    assert (empty.kind, empty.value) == ('empty-file', '0 bytes')


def test_all_ignored(root):
    path = relabel(root, np.full((24, 32), 255, np.uint8))
    assert brief(check(root)) == [
        ('label-all-ignored', 'warning', path, 'all 768 pixels are 255')]


def test_black_and_white_labels_of_two_classes(tmp_path):
    make(tmp_path, 'mine', splits=['train'])
    for name in ('train0', 'train1'):
        label = paths(tmp_path, 'train', name, 'mine')[1]
        Image.fromarray(stripes(classes=2) * 255).save(label)
    cfg = config(tmp_path, 'mine', ['train'])
    one, never = check_dataset(cfg).problems
    assert brief([one, never]) == [
        ('one-class-and-ignored', 'warning', str(tmp_path / 'SegmentationClass'),
         'only background, and 50.0 % of the pixels ignored (255)'),
        ('class-never-occurs', 'warning', 'class 1 (defect)',
         '0 of 768 pixels in 2 labels')]
    assert 'color_masks_to_index.py' in one.way_out
    assert [p.kind for p in check_dataset(cfg, sample=1).problems] == []


def test_classes_that_never_occur_are_told_of_a_whole_split(root):
    for name in ('train0', 'train1'):
        relabel(root, stripes() % 3, name)
    [problem] = check(root)
    assert brief([problem]) == [('class-never-occurs', 'warning', 'class 3 (scratch)',
                                 '0 of 1536 pixels in 2 labels')]
    assert check_dataset(config(root), ['train'], sample=2).problems == []


@pytest.mark.parametrize(('size', 'shape'), [((1, 1), '()'), ((1, 9), '(9,)')])
def test_labels_of_one_pixel_are_dropped_by_the_loader(root, size, shape):
    _, label = add(root, 'train', 'train0', tiny['photo']('x', size),
                   np.zeros(size, np.uint8))
    [problem] = [p for p in check(root) if p.file == label]
    assert (problem.kind, problem.severity) == ('label-one-pixel-wide', 'error')
    assert problem.value == f'{size[0]}x{size[1]}, loaded with the shape {shape}'


def test_a_pair_on_which_the_check_itself_fails_costs_no_other(root, monkeypatch):
    image, _ = paths(root, 'train', 'train0')
    broken = iter([RuntimeError('no idea'), None])

    def check_label(*args):
        error = next(broken)
        if error is not None:
            raise error
        return ()

    monkeypatch.setattr(
        'fastsegformer_mm.datasets.checks.reading.check_label', check_label)
    report = check_dataset(config(root), ['train'])
    assert report.splits['train'].checked == 2
    [problem] = [p for p in report.problems if p.kind == 'unchecked-file']
    assert (problem.severity, problem.file, problem.value) == (
        'error', str(image), 'RuntimeError: no idea')
