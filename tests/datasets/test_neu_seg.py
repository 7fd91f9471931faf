"""NEUSegDataset: labels, splits, errors."""

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image

from fastsegformer_mm.datasets.neu_seg import NEUSegDataset

PIPELINE = [{'type': 'LoadImageFromFile'}, {'type': 'mmseg.LoadAnnotations'}]


@pytest.fixture
def root(tmp_path):
    for split, names in (('train', 'ab'), ('test', 'c')):
        for kind in ('images', 'annotations'):
            (tmp_path / kind / split).mkdir(parents=True)
        for i, name in enumerate(names):
            Image.new('RGB', (5, 4)).save(tmp_path / f'images/{split}/{name}.jpg')
            Image.fromarray(np.full((4, 5), i + 2, np.uint8)).save(
                tmp_path / f'annotations/{split}/{name}.png')
    return tmp_path


def test_registered_and_classes():
    assert DATASETS.get('NEUSegDataset') is NEUSegDataset
    assert NEUSegDataset.METAINFO['classes'] == (
        'background', 'inclusion', 'patch', 'scratch')
    assert len(NEUSegDataset.METAINFO['palette']) == 4


def test_splits_and_labels(root):
    train = NEUSegDataset(data_root=str(root), pipeline=PIPELINE)
    assert [int(train[i]['gt_seg_map'].max()) for i in range(len(train))] == [2, 3]
    test = NEUSegDataset(
        data_root=str(root), test_mode=True,
        data_prefix={'img_path': 'images/test', 'seg_map_path': 'annotations/test'})
    assert [test[i]['img_path'] for i in range(len(test))] == [
        f'{root}/images/test/c.jpg']


def test_list_of_names(root):
    (root / 'few.txt').write_text('b\n')
    dataset = NEUSegDataset(data_root=str(root), ann_file='few.txt')
    assert len(dataset) == 1
    assert dataset[0]['img_path'].endswith('images/train/b.jpg')


def test_missing_folder_and_missing_label(root):
    prefix = {'img_path': 'images/val', 'seg_map_path': 'annotations/val'}
    with pytest.raises(FileNotFoundError) as caught:
        NEUSegDataset(data_root=str(root), data_prefix=prefix)
    assert f'no image folder {root}/images/val' in str(caught.value)
    assert (f'python tools/dataset_converters/neu_seg.py NEU_Seg.zip {root}'
            in str(caught.value))
    (root / 'annotations/train/b.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'annotations/train/b\.png'):
        NEUSegDataset(data_root=str(root))
