"""Batches of labelled and unlabelled images."""

import itertools
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from PIL import Image

from fastsegformer_mm.datasets import PartlyLabelledBatchSampler
from fastsegformer_mm.datasets.checks import check_dataset
from fastsegformer_mm.engine.exact_resume import SeededBatchSampler

META = dict(classes=('background', 'crack'), palette=[[0, 0, 0], [255, 0, 0]])
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # borders that a plain label map would have as background
    dict(type='Pad', size=(24, 24), pad_val=dict(img=0, seg=0)),
    dict(type='PackSegInputs'),
]


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


def write(root, labelled=3, unlabelled=5):
    """Images whose brightness is their number, the unlabelled ones from 100 on."""
    for folder in ('images', 'labels', 'photos'):
        (root / folder).mkdir(parents=True)
    for k in range(labelled):
        Image.new('RGB', (16, 16), (k, k, k)).save(root / f'images/{k:02d}.png')
        Image.fromarray(np.ones((16, 16), np.uint8)).save(root / f'labels/{k:02d}.png')
    for k in range(unlabelled):
        grey = (100 + k,) * 3
        Image.new('RGB', (16, 16), grey).save(root / f'photos/{k:02d}.png')
    return root


def folder(root, images, **kwargs):
    return dict(
        type='BaseSegDataset', data_root=str(root), img_suffix='.png',
        data_prefix=dict(img_path=images, **kwargs), pipeline=PIPELINE)  # fmt: skip


def config(root):
    labelled = dict(folder(root, 'images', seg_map_path='labels'), metainfo=META)
    return dict(
        type='PartlyLabelledDataset', labelled=labelled,
        unlabelled=folder(root, 'photos'))  # fmt: skip


def test_samples(tmp_path):
    dataset = DATASETS.build(config(write(tmp_path)))
    assert dataset.sizes == (3, 5)
    assert dataset.metainfo['classes'] == META['classes']
    for k in range(8):
        sample = dataset[k]
        data = sample['data_samples']
        labels = data.gt_sem_seg.data
        assert labels.shape == (1, 24, 24)
        if k < 3:
            assert data.metainfo.get('labelled', True)
            assert (labels[:, :16, :16] == 1).all()
            assert labels.sum() == 256
        else:
            assert data.metainfo['labelled'] is False
            assert (labels == 255).all()
        assert sample['inputs'][0, 0, 0] == (k if k < 3 else 97 + k)


def test_labels_of_a_labelled_set_are_not_read(tmp_path):
    cfg = config(write(tmp_path))
    cfg['unlabelled'] = dict(folder(tmp_path, 'images', seg_map_path='none'))
    dataset = DATASETS.build(cfg)
    assert (dataset[4]['data_samples'].gt_sem_seg.data == 255).all()


def test_pipeline_without_labels(tmp_path):
    cfg = config(write(tmp_path))
    cfg['unlabelled']['pipeline'] = [PIPELINE[0], PIPELINE[-1]]
    with pytest.raises(ValueError, match='has no LoadAnnotations'):
        DATASETS.build(cfg)


class Sizes(torch.utils.data.Dataset):
    """What the sampler needs of a PartlyLabelledDataset."""

    def __len__(self):
        return 8


@pytest.fixture
def sized(monkeypatch):
    dataset = Sizes()
    dataset.sizes = (3, 5)
    monkeypatch.setattr(
        'fastsegformer_mm.datasets.partly_labelled_batch_sampler.PartlyLabelledDataset',
        Sizes)  # fmt: skip
    return dataset


def draw(dataset, rank=0, world_size=1, batches=15, kind=InfiniteSampler, **kwargs):
    sampler = kind(dataset, seed=4)
    sampler.rank, sampler.world_size = rank, world_size
    made = PartlyLabelledBatchSampler(sampler, 4, labelled=1, **kwargs)
    return list(itertools.islice(made, batches))


def test_each_kind_is_drawn_evenly_and_knows_its_epoch(sized):
    batches = draw(sized)
    labelled = [batch[0] for batch in batches]
    others = list(itertools.chain(*(batch[1:] for batch in batches)))
    assert all(len(batch) == 4 for batch in batches)
    assert sorted(labelled) == sorted([0, 1, 2] * 5)
    assert [index.epoch for index in labelled] == [k // 3 for k in range(15)]
    assert sorted(others) == sorted([3, 4, 5, 6, 7] * 9)
    assert [index.epoch for index in others] == [k // 5 for k in range(45)]
    for k in range(0, 45, 5):
        assert sorted(others[k : k + 5]) == [3, 4, 5, 6, 7]
    assert len({tuple(others[k : k + 5]) for k in range(0, 45, 5)}) > 4
    assert draw(sized) == batches


def test_processes_share_an_epoch(sized):
    parts = [draw(sized, rank, 3, batches=5) for rank in range(3)]
    for kind, size, each in ((slice(0, 1), 3, 1), (slice(1, 4), 5, 3)):
        drawn = [list(itertools.chain(*(b[kind] for b in part))) for part in parts]
        merged = list(itertools.chain(*zip(*drawn)))
        assert len(merged) == 15 * each
        for k in range(0, len(merged), size):
            assert len(set(merged[k : k + size])) == size


def test_epochs_go_on_with_the_unlabelled_images(sized):
    sampler = DefaultSampler(sized, seed=4)
    made = PartlyLabelledBatchSampler(sampler, 4, labelled=1)
    assert len(made) == 3
    found = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        found += made
    assert found == draw(sized)


def test_epochs_survive_seeded_loading(sized):
    sampler = PartlyLabelledBatchSampler(InfiniteSampler(sized, seed=4), 4, labelled=1)
    seeded = SeededBatchSampler(sampler, endless=8)
    seeded.skip = 2
    found = list(itertools.islice(seeded, 3))
    assert found == draw(sized)[2:5]
    assert [i.epoch for i in found[0]] == [i.epoch for i in draw(sized)[2]]


def test_wrong_options(sized):
    sampler = InfiniteSampler(sized)
    for labelled in (0, 4, 5):
        with pytest.raises(ValueError, match=f'labelled={labelled} .*expected 1 to 3'):
            PartlyLabelledBatchSampler(sampler, 4, labelled)
    with pytest.raises(TypeError, match='not from list'):
        PartlyLabelledBatchSampler(InfiniteSampler([1, 2]), 4, 1)


def test_data_loader_of_a_runner(tmp_path):
    loader = Runner.build_dataloader(
        dict(
            batch_size=3, num_workers=0, dataset=config(write(tmp_path)),
            sampler=dict(type='InfiniteSampler'),
            batch_sampler=dict(type='PartlyLabelledBatchSampler', labelled=1),
            collate_fn=dict(type='pseudo_collate')),
        seed=0)  # fmt: skip
    for batch in itertools.islice(loader, 4):
        labelled = [s.metainfo.get('labelled', True) for s in batch['data_samples']]
        assert labelled == [True, False, False]
        assert [bool(x.max() >= 100) for x in batch['inputs']] == [False, True, True]


def test_data_check(tmp_path):
    """Unlabelled images need no labels; a damaged one is found."""
    cases = Path(__file__).parent / 'checks/tiny_set.py'
    tiny = SimpleNamespace(**runpy.run_path(str(cases)))
    cfg = tiny.config(tiny.make(tmp_path / 'neu'), splits=('train',))
    labelled = cfg.train_dataloader.dataset.to_dict()
    write(tmp_path / 'own')
    cfg.train_dataloader.dataset = dict(
        type='PartlyLabelledDataset', labelled=labelled,
        unlabelled=folder(tmp_path / 'own', 'photos'))  # fmt: skip
    report = check_dataset(cfg, ['train'])
    assert list(report.errors) == []
    (tmp_path / 'own/photos/03.png').write_bytes(b'no image')
    report = check_dataset(cfg, ['train'])
    assert [Path(p.file).name for p in report.errors] == ['03.png']
