"""Folders, split files, suffixes: what is not where it is looked for."""

import os
import runpy
import shutil
from pathlib import Path

import pytest

from fastsegformer_mm.datasets.checks import Problem, check_dataset

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_set.py')))
add, config, make, paths, write_list = (
    tiny[k] for k in ('add', 'config', 'make', 'paths', 'write_list'))


def found(cfg, *splits):
    """The problems; every one is a line."""
    problems = check_dataset(cfg, splits or ('train', )).problems
    assert all('\n' not in str(problem) for problem in problems)
    return problems


def brief(problems):
    return [(p.kind, p.severity, p.file, p.value) for p in problems]


@pytest.mark.parametrize('layout', ['neu', 'voc', 'mine'])
def test_sound_sets_have_no_problem(tmp_path, layout):
    report = check_dataset(config(make(tmp_path, layout), layout))
    assert report.problems == []
    assert report.ok
    assert list(report.splits) == ['train', 'val', 'test']
    for split in report.splits.values():
        assert (split.images, split.labels, split.pairs, split.checked) == (2, 2, 2, 2)
        pixels = 24 * 32 * 2 // len(split.classes)
        assert split.class_pixels.tolist() == [pixels] * len(split.classes)
        assert split.class_images.tolist() == [2] * len(split.classes)
        assert split.ignored_pixels == 0
        assert split.image_sizes == {(24, 32): 2}
        assert sorted(split.samples) == sorted(
            tuple(map(str, paths(tmp_path, split.split, f'{split.split}{k}', layout)))
            for k in range(2))


def test_root_missing(tmp_path):
    root = str(tmp_path / 'nowhere')
    [problem] = found(config(root))
    assert brief([problem]) == [
        ('folder-missing', 'error', root, 'no such folder')]
    assert problem.expected == 'the files of NEUSegDataset'
    assert 'tools/dataset_converters/neu_seg.py NEU_Seg.zip ' + root in problem.way_out


def test_root_missing_of_a_set_that_asserts_when_built(tmp_path):
    cfg = config(tmp_path / 'nowhere', 'mine')
    cfg.train_dataloader.dataset.update(
        type='PascalVOCDataset', data_prefix=dict(
            img_path='JPEGImages', seg_map_path='SegmentationClass'))
    del cfg.train_dataloader.dataset['metainfo']
    cfg.model.decode_head.num_classes = 21
    problems = found(cfg)
    assert [(p.kind, p.file) for p in problems] == [
        ('folder-missing', str(tmp_path / 'nowhere')),
        ('split-file-missing',
         str(tmp_path / 'nowhere/ImageSets/Segmentation/train.txt'))]


def test_relative_root_names_the_folder_it_starts_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    problem = found(config('data/none', 'voc'))[0]
    assert problem.file == 'data/none'
    assert (f'train_dataloader.dataset.data_root and .data_prefix (relative paths '
            f'start at {os.getcwd()})') in problem.way_out


@pytest.mark.parametrize('which', ['images', 'annotations'])
def test_folder_missing_and_empty(tmp_path, which):
    make(tmp_path)
    folder = tmp_path / which / 'train'
    shutil.rmtree(folder)
    assert brief(found(config(tmp_path))) == [
        ('folder-missing', 'error', str(folder), 'no such folder')]
    folder.mkdir()
    [problem] = found(config(tmp_path))
    assert brief([problem]) == [('folder-empty', 'error', str(folder), 'no files')]
    suffix = '.jpg' if which == 'images' else '.png'
    assert problem.expected == f'files *{suffix}'


def test_wrong_suffix_says_which_are_there(tmp_path):
    make(tmp_path)
    folder = tmp_path / 'images/train'
    for image in folder.iterdir():
        image.rename(image.with_suffix('.JPG'))
    (folder / 'notes').write_text('x')
    [problem] = found(config(tmp_path))
    assert problem == Problem(
        'wrong-suffix', 'error', 'train', str(folder),
        '3 files, .JPG (2), no suffix (1), such as train0.JPG', '*.jpg',
        'set train_dataloader.dataset.img_suffix to how the names end')
    [problem] = found(config(tmp_path, seg_map_suffix='_mask.png',
                             img_suffix='.JPG'))
    assert brief([problem]) == [('wrong-suffix', 'error',
                                 str(tmp_path / 'annotations/train'),
                                 '2 files, .png (2), such as train0.png')]
    assert 'seg_map_suffix' in problem.way_out


def test_some_images_of_another_suffix_are_told(tmp_path):
    make(tmp_path)
    image, label = paths(tmp_path, 'train', 'train0')
    image.rename(image.with_suffix('.jpeg'))
    problems = found(config(tmp_path))
    assert brief(problems) == [
        ('wrong-suffix', 'warning', str(image.parent),
         'beside 1 *.jpg .jpeg (1), such as train0.jpeg'),
        ('image-missing', 'warning', str(label), f'no {image}')]
    assert problems[0].way_out.startswith('the others are not used')


def test_labels_beside_images_are_no_images_of_another_suffix(tmp_path):
    for name in 'ab':
        image, label = add(tmp_path, 'train', name)
        shutil.move(label, Path(image).with_suffix('.png'))
    cfg = config(tmp_path, data_prefix=dict(
        img_path='images/train', seg_map_path='images/train'))
    assert found(cfg) == []


def test_image_without_label(tmp_path):
    make(tmp_path)
    image, label = paths(tmp_path, 'train', 'train1')
    label.rename(label.with_suffix('.bmp'))
    [problem] = found(config(tmp_path))
    assert problem == Problem(
        'label-missing', 'error', 'train', str(image),
        f'no {label}, there is train1.bmp', 'a label for every image',
        'set train_dataloader.dataset.seg_map_suffix, or rename the label')
    label.with_suffix('.bmp').unlink()
    [problem] = found(config(tmp_path))
    assert problem.value == f'no {label}'
    assert problem.way_out == 'label it, or take it out of the folder'


def test_label_without_image(tmp_path):
    make(tmp_path, 'voc')
    image, label = add(tmp_path, 'train', 'extra', layout='voc')
    assert found(config(tmp_path, 'voc')) == []
    Path(image).unlink()
    # all three splits share the folders: once is enough
    [problem] = found(config(tmp_path, 'voc'), 'train', 'val', 'test')
    assert problem == Problem(
        'image-missing', 'warning', 'train', label, f'no {image}',
        'an image for every label',
        'the label is not used: add its image, or move it away')


def test_split_file_missing_or_without_names(tmp_path):
    make(tmp_path, 'voc')
    path = write_list(tmp_path, 'train', [''])
    [problem] = found(config(tmp_path, 'voc'))
    assert brief([problem]) == [('split-file-empty', 'error', path, 'no names')]
    os.remove(path)
    [problem] = found(config(tmp_path, 'voc'))
    assert problem == Problem(
        'split-file-missing', 'error', 'train', path, 'no such file',
        'a list of image names without suffix, one a line',
        f'write it by: python tools/dataset_converters/split_voc.py {tmp_path}; or '
        'set train_dataloader.dataset.ann_file')


def test_split_file_names_absent_images_with_the_reason(tmp_path):
    make(tmp_path, 'voc')
    png = paths(tmp_path, 'train', 'photo', 'voc')[0].with_suffix('.png')
    png.write_bytes(b'x')
    path = write_list(tmp_path, 'train', ['train0', 'gone', 'train1.jpg', 'photo'])
    gone, with_suffix, other = found(config(tmp_path, 'voc'))
    folder = tmp_path / 'JPEGImages'
    assert gone == Problem(
        'split-names-absent', 'error', 'train', path,
        f'names gone, there is no {folder / "gone.jpg"}',
        'names of images that are there', 'delete the name, or put the image there')
    assert with_suffix.value == (
        f'names train1.jpg, there is no {folder / "train1.jpg.jpg"}')
    assert with_suffix.way_out == 'write names without suffix: train1'
    assert other.way_out == ('there is photo.png: set '
                             'train_dataloader.dataset.img_suffix, or rename it')


def test_split_file_duplicates_and_blank_lines(tmp_path):
    make(tmp_path, 'mine')
    path = write_list(tmp_path, 'train', ['train0', 'train1', 'train0', '', 'train0'])
    blank, twice = found(config(tmp_path, 'mine'))
    assert brief([blank, twice]) == [
        ('split-blank-line', 'error', path, 'line 4 is blank'),
        ('split-duplicate', 'warning', path, 'train0 is named 3 times')]
    assert '.jpg' in blank.way_out
    # our own data set passes over blank lines
    cfg = config(tmp_path, 'mine', type='NavelOrangeDataset')
    assert brief(found(cfg)) == brief([twice])


def test_indices_choose_as_the_data_set_does(tmp_path):
    make(tmp_path, count=4)
    for indices, names in ((2, '01'), (-1, '3'), ([3, 0], '03')):
        report = check_dataset(config(tmp_path, indices=indices), ['train'])
        assert report.splits['train'].images == len(names)
        assert sorted(Path(i).stem[-1] for i, _ in report.splits['train'].samples
                      ) == sorted(names)


def test_no_labels_are_expected_where_none_are_read(tmp_path):
    make(tmp_path)
    shutil.rmtree(tmp_path / 'annotations/test')
    cfg = config(tmp_path)
    cfg.test_dataloader.dataset.pipeline = [
        step for step in cfg.test_dataloader.dataset.pipeline
        if step['type'] != 'LoadAnnotations']
    report = check_dataset(cfg, ['test'])
    assert report.problems == []
    split = report.splits['test']
    assert (split.images, split.labels, split.pairs, split.checked) == (2, 0, 0, 2)


@pytest.mark.parametrize(('name', 'severity', 'value'), [
    (os.fsdecode('橙'.encode('gbk')), 'error', 'the name is not UTF-8'),
    ('two\nlines', 'error', 'a line break or control character in the name'),
    (' lead', 'warning', 'blanks around the name'),
    ('橙子', None, None)])
def test_unusual_names(tmp_path, name, severity, value):
    make(tmp_path, splits=['train'])
    try:
        image, _ = add(tmp_path, 'train', name, image=tiny['photo']('x'))
    except (OSError, ValueError):
        pytest.skip('the file system allows no such name')
    problems = found(config(tmp_path))
    assert brief(problems) == (
        [('unusual-name', severity, image, value)] if value else [])
    for problem in problems:
        str(problem).encode()


def test_a_folder_without_permission(tmp_path, monkeypatch):
    make(tmp_path, splits=['train'])
    folder = tmp_path / 'images/train/sub'
    folder.mkdir()
    plain = os.scandir

    def scandir(path):
        if str(path).endswith('sub'):
            raise PermissionError(13, 'Permission denied', str(path))
        return plain(path)

    monkeypatch.setattr(os, 'scandir', scandir)
    report = check_dataset(config(tmp_path), ['train'])
    assert brief(report.problems) == [
        ('unreadable-folder', 'error', str(folder), 'Permission denied')]
    # the others are looked into
    assert report.splits['train'].checked == 2


def test_a_list_that_is_no_utf8(tmp_path):
    make(tmp_path, 'voc')
    file = tmp_path / 'ImageSets/Segmentation/train.txt'
    file.write_bytes('橙\n'.encode('gbk'))
    [problem] = found(config(tmp_path, 'voc'))
    assert (problem.kind, problem.severity, problem.file) == (
        'split-file-unreadable', 'error', str(file))
    assert "can't decode" in problem.value
    assert problem.way_out == 'see to its permissions, or save it anew in UTF-8'


def test_images_of_another_suffix_beside_png_labels(tmp_path):
    make(tmp_path, splits=['train'])
    shutil.copy(tmp_path / 'images/train/train0.jpg',
                tmp_path / 'images/train/train0.png')
    [problem] = found(config(tmp_path))
    assert (problem.kind, problem.severity) == ('wrong-suffix', 'warning')
    assert problem.value == 'beside 2 *.jpg .png (1), such as train0.png'
