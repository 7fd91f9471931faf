"""NavelOrangeDataset: labels, splits, own classes, errors."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from fastsegformer_mm.datasets.navel_orange import NavelOrangeDataset

COLORS = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
PIPELINE = [{'type': 'LoadImageFromFile'}, {'type': 'mmseg.LoadAnnotations'}]


def label_of(i):
    return ((np.arange(8 * 6).reshape(6, 8) + i) % 4).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    """Three labelled images in VOC layout, two of them in train.txt."""
    for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (tmp_path / folder).mkdir(parents=True)
    for i, name in enumerate('abc'):
        Image.new('RGB', (8, 6), (10 * i, 0, 0)).save(
            tmp_path / f'JPEGImages/{name}.jpg')
        mask = Image.fromarray(label_of(i))
        mask.putpalette(COLORS)
        mask.save(tmp_path / f'SegmentationClass/{name}.png')
    (tmp_path / 'ImageSets/Segmentation/train.txt').write_text('c\na\n')
    return tmp_path


def test_registered_classes_and_palette():
    assert DATASETS.get('NavelOrangeDataset') is NavelOrangeDataset
    meta = NavelOrangeDataset.METAINFO
    assert meta['classes'] == ('background', 'sunburn', 'ulcer', 'wind scarring')
    assert np.ravel(meta['palette']).tolist() == COLORS


def test_palette_png_gives_indices(root):
    dataset = NavelOrangeDataset(data_root=str(root), pipeline=PIPELINE)
    assert len(dataset) == 3
    for i in range(3):
        np.testing.assert_array_equal(dataset[i]['gt_seg_map'], label_of(i))
        assert dataset[i]['img'].shape == (6, 8, 3)
    assert dataset.metainfo['label_map'] is None


def test_split_file_keeps_its_order_and_blank_lines_do_not_count(root):
    split = 'ImageSets/Segmentation/train.txt'
    (root / split).write_text('c\n\na\n\n')
    dataset = NavelOrangeDataset(data_root=str(root), ann_file=split)
    assert [dataset[i]['img_path'] for i in range(len(dataset))] == [
        f'{root}/JPEGImages/c.jpg', f'{root}/JPEGImages/a.jpg']


def test_other_folders_and_images_without_labels(root):
    (root / 'JPEGImages').rename(root / 'photos')
    dataset = NavelOrangeDataset(
        data_root=str(root), data_prefix={'img_path': 'photos'})
    assert len(dataset) == 3
    assert 'seg_map_path' not in dataset[0]


def test_subset_of_the_classes_is_selected(root):
    dataset = NavelOrangeDataset(
        data_root=str(root), pipeline=PIPELINE,
        metainfo={'classes': ('background', 'wind scarring')})
    assert dataset.metainfo['palette'] == [[0, 0, 0], [128, 128, 0]]
    expected = np.array([0, 255, 255, 1])[label_of(0)]
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], expected)


@pytest.mark.parametrize(('classes', 'palette'), [
    (('leaf', 'rust'), [[0, 0, 0], [128, 0, 0]]),
    # names of both: still the set's own, no label is moved
    (('background', 'ulcer', 'mould', 'stem', 'bruise'),
     [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]),
])
def test_own_classes(root, classes, palette):
    dataset = NavelOrangeDataset(data_root=str(root), pipeline=PIPELINE,
                                 metainfo={'classes': classes}, test_mode=True)
    assert dataset.metainfo['classes'] == classes
    assert dataset.metainfo['palette'] == palette
    assert dataset.metainfo['label_map'] is None
    np.testing.assert_array_equal(dataset[1]['gt_seg_map'], label_of(1))


def test_own_classes_with_own_palette_and_more_than_voc_has_colours():
    palette = [[1, 2, 3], [4, 5, 6]]
    dataset = NavelOrangeDataset(
        lazy_init=True, metainfo={'classes': ('leaf', 'rust'), 'palette': palette})
    assert dataset.metainfo['palette'] == palette
    classes = tuple(f'class {i}' for i in range(30))
    dataset = NavelOrangeDataset(lazy_init=True, metainfo={'classes': classes})
    assert len(dataset.metainfo['palette']) == 30


def test_subclass_with_its_own_classes(root):
    class Leaves(NavelOrangeDataset):
        METAINFO = {'classes': ('leaf', 'sunburn'), 'palette': [[1, 1, 1], [2, 2, 2]]}

    dataset = Leaves(data_root=str(root), pipeline=PIPELINE)
    assert dataset.metainfo['palette'] == [[1, 1, 1], [2, 2, 2]]
    np.testing.assert_array_equal(dataset[2]['gt_seg_map'], label_of(2))
    with pytest.raises(FileNotFoundError, match='Leaves: there is no split file'):
        Leaves(data_root=str(root), ann_file='none.txt')


def error(root, **kwargs):
    with pytest.raises(FileNotFoundError) as caught:
        NavelOrangeDataset(data_root=str(root), **kwargs)
    text = str(caught.value)
    assert f'python tools/dataset_converters/split_voc.py {root}' in text
    return text


def test_missing_folder(root):
    text = error(root / 'none')
    assert f'no image folder {root}/none/JPEGImages' in text


def test_missing_split_file(root):
    text = error(root, ann_file='ImageSets/Segmentation/val.txt')
    assert f'no split file {root}/ImageSets/Segmentation/val.txt' in text


def test_absent_image(root):
    split = root / 'ImageSets/Segmentation/train.txt'
    split.write_text('a\nghost\n')
    text = error(root, ann_file='ImageSets/Segmentation/train.txt')
    assert f'{split} names 2 images, but there is no {root}/JPEGImages/ghost' in text


def test_absent_labels_are_counted(root):
    for i in range(7):
        Image.new('RGB', (8, 6)).save(root / f'JPEGImages/new{i}.jpg')
    text = error(root)
    assert f'{root}/SegmentationClass/new0.png' in text
    assert 'new4.png and 2 more' in text
    assert 'new5.png' not in text


def test_empty_folder_and_empty_split(root):
    (root / 'ImageSets/Segmentation/train.txt').write_text('\n')
    assert 'train.txt names no images (*.jpg)' in error(
        root, ann_file='ImageSets/Segmentation/train.txt')
    assert 'JPEGImages names no images (*.png)' in error(root, img_suffix='.png')


def test_nothing_is_checked_under_lazy_init(root):
    NavelOrangeDataset(data_root=str(root / 'none'), lazy_init=True)
