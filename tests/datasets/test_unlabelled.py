"""Images without labels: from where, and that no label is read."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image

from fastsegformer_mm.datasets import UnlabelledDataset

tiny = runpy.run_path(str(Path(__file__).with_name('partly_labelled_set.py')))
write, folder, config = tiny['write'], tiny['folder'], tiny['config']
META, PIPELINE = tiny['META'], tiny['PIPELINE']


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def grey(sample):
    return int(sample['inputs'][0, 0, 0])


def test_a_folder(tmp_path):
    dataset = UnlabelledDataset(**folder(write(tmp_path), 'photos'))
    assert [grey(dataset[k]) for k in range(len(dataset))] == [100, 101, 102, 103, 104]
    sample = dataset[0]['data_samples']
    assert sample.metainfo['labelled'] is False
    labels = sample.gt_sem_seg.data
    # the border that Pad labels 0 as well
    assert torch.equal(labels, torch.full((1, 24, 24), 255))
    assert labels.dtype == torch.int64


def test_a_list(tmp_path):
    write(tmp_path)
    (tmp_path / 'list.txt').write_text('03\n\n01\n')
    dataset = UnlabelledDataset(**folder(tmp_path, 'photos', ann_file='list.txt'))
    assert [grey(dataset[k]) for k in range(len(dataset))] == [103, 101]


def test_a_set_whose_labels_are_ignored(tmp_path):
    """There may be none, or some that cannot be read."""
    write(tmp_path)
    for broken in (tmp_path / 'labels').iterdir():
        broken.write_bytes(b'no picture')
    (tmp_path / 'labels/01.png').unlink()
    inner = dict(
        folder(tmp_path, ''), type='NavelOrangeDataset', indices=[2, 1],
        data_prefix=dict(img_path='images', seg_map_path='labels'))
    dataset = UnlabelledDataset(dataset=inner)
    assert dataset.metainfo['classes'] == (
        'background', 'sunburn', 'ulcer', 'wind scarring')
    assert [grey(dataset[k]) for k in range(len(dataset))] == [2, 1]
    assert (dataset[0]['data_samples'].gt_sem_seg.data == 255).all()
    assert 'seg_map_path' not in dataset.get_data_info(0)
    assert inner['data_prefix'] == dict(img_path='images', seg_map_path='labels')


def test_labels_in_data_prefix_are_not_looked_for(tmp_path):
    prefix = dict(img_path='photos', seg_map_path='nowhere')
    dataset = UnlabelledDataset(**folder(write(tmp_path), '', data_prefix=prefix))
    assert grey(dataset[4]) == 104


@TRANSFORMS.register_module(force=True)
class NeedsLabels(BaseTransform):
    """Stands for those that cut image and label together."""

    def transform(self, results):
        assert results['seg_fields'] == ['gt_seg_map']
        assert results['gt_seg_map'].dtype == np.uint8
        assert (results['gt_seg_map'] == 255).all()
        assert results['gt_seg_map'].shape == results['img'].shape[:2] == (16, 16)
        return results


@pytest.mark.parametrize('load', [
    dict(type='LoadAnnotations'), dict(type='mmseg.LoadAnnotations'),
    dict(type=TRANSFORMS.get('LoadAnnotations'), imdecode_backend='cv2'),
    dict(type='RandomApply', transforms=[dict(type='LoadAnnotations')], prob=1)])
def test_transforms_of_both_find_a_label(tmp_path, load):
    steps = [PIPELINE[0], load, dict(type='NeedsLabels'),
             dict(type='RandomRotate', prob=1, degree=(45, 45), seg_pad_val=0),
             dict(type='RandomCrop', crop_size=(12, 12), cat_max_ratio=0.75),
             dict(type='GenerateEdge'), PIPELINE[-1]]
    sample = UnlabelledDataset(
        **folder(write(tmp_path), 'photos', pipeline=steps))[0]['data_samples']
    for pixels in (sample.gt_sem_seg, sample.gt_edge_map):
        assert torch.equal(pixels.data, torch.full((1, 12, 12), 255))
    assert steps[1] == load


def test_pipeline_that_loads_no_labels(tmp_path):
    steps = [PIPELINE[0], PIPELINE[-1]]
    dataset = UnlabelledDataset(**folder(write(tmp_path), 'photos', pipeline=steps))
    labels = dataset[0]['data_samples'].gt_sem_seg.data
    assert torch.equal(labels, torch.full((1, 16, 16), 255))


def test_another_ignored_value(tmp_path):
    dataset = UnlabelledDataset(**folder(write(tmp_path), 'photos', ignore_index=7))
    assert (dataset[0]['data_samples'].gt_sem_seg.data == 7).all()


def test_missing_and_broken_images(tmp_path):
    """As of the other data sets."""
    write(tmp_path)
    with pytest.raises(FileNotFoundError, match='UnlabelledDataset: there is no image '
                       f'folder {tmp_path}/none. Put the images there, or set'):
        UnlabelledDataset(**folder(tmp_path, 'none'))
    with pytest.raises(FileNotFoundError, match=r'names no images \(\*\.jpg\)'):
        UnlabelledDataset(**folder(tmp_path, 'photos', img_suffix='.jpg'))
    (tmp_path / 'list.txt').write_text('03\n77\n')
    with pytest.raises(FileNotFoundError, match=r'there is no .*photos/77\.png'):
        UnlabelledDataset(**folder(tmp_path, 'photos', ann_file='list.txt'))
    (tmp_path / 'photos/02.png').write_bytes(b'no picture')
    dataset = UnlabelledDataset(**folder(tmp_path, 'photos'))
    with pytest.raises(AssertionError, match='failed to load image'):
        dataset[2]


def test_wrong_arguments(tmp_path):
    inner = dict(folder(write(tmp_path), 'photos'), type='BaseSegDataset')
    with pytest.raises(TypeError, match=r'beside dataset=dict\(\.\.\.\) there is '
                       'img_suffix, pipeline; expected nothing'):
        UnlabelledDataset(dataset=inner, img_suffix='.bmp', pipeline=PIPELINE)
    with pytest.raises(TypeError, match='dataset is a ConcatDataset, expected a Base'):
        UnlabelledDataset(dataset=dict(type='ConcatDataset', datasets=[inner]))


def test_both(tmp_path):
    dataset = DATASETS.build(config(write(tmp_path)))
    assert dataset.sizes == (3, 5)
    assert len(dataset) == 8
    assert dataset.metainfo['classes'] == META['classes']
    assert [grey(s) for s in dataset] == [0, 1, 2, 100, 101, 102, 103, 104]
    labels = torch.stack([s['data_samples'].gt_sem_seg.data[0] for s in dataset])
    assert [s['data_samples'].metainfo['labelled'] for s in dataset] == (
        [True] * 3 + [False] * 5)
    assert (labels[:3, :16, :16] == 1).all()
    assert (labels[:3].sum((1, 2)) == 256).all()  # the border is background
    assert (labels[3:] == 255).all()
    assert dataset.get_data_info(7)['img_path'] == f'{tmp_path}/photos/04.png'


def test_several_folders_and_repeated_labels(tmp_path):
    cfg = config(write(tmp_path))
    cfg['labelled'] = dict(type='RepeatDataset', times=2, dataset=cfg['labelled'])
    cfg['unlabelled'] = dict(type='ConcatDataset', datasets=[
        cfg['unlabelled'], dict(type='UnlabelledDataset', dataset=dict(
            folder(tmp_path, 'images'), type='BaseSegDataset'))])
    dataset = DATASETS.build(dict(cfg, lazy_init=True))
    dataset.full_init()
    assert dataset.sizes == (6, 8)
    sample = dataset[13]
    assert grey(sample) == 2
    assert sample['data_samples'].metainfo['labelled'] is False


def test_labels_that_would_be_used(tmp_path):
    cfg = config(write(tmp_path))
    cfg['unlabelled'] = dict(cfg['unlabelled'], type='BaseSegDataset')
    with pytest.raises(TypeError, match='unlabelled is a BaseSegDataset, whose labels '
                       r"would be used; expected dict\(type='UnlabelledDataset'"):
        DATASETS.build(cfg)
    mixed = dict(type='MultiImageMixDataset', pipeline=[],
                 dataset=dict(folder(tmp_path, 'photos'), type='UnlabelledDataset'))
    with pytest.raises(TypeError, match='unlabelled is a MultiImageMixDataset'):
        DATASETS.build(dict(cfg, unlabelled=mixed))


def test_palette_of_labels_does_not_reach_the_network(tmp_path):
    """A PNG that carries its own alpha or palette is an image like any other."""
    write(tmp_path)
    Image.new('P', (16, 16), 3).save(tmp_path / 'photos/05.png')
    dataset = UnlabelledDataset(**folder(tmp_path, 'photos'))
    assert dataset[5]['inputs'].shape == (3, 24, 24)
