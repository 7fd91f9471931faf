"""What the batches of PartlyLabelledSampler are made of."""

import itertools
import logging
import pickle
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from torch.utils.data import BatchSampler

from fastsegformer_mm.datasets import PartlyLabelledDataset, PartlyLabelledSampler
from fastsegformer_mm.engine.exact_resume import SampleIndex, SeededBatchSampler

tiny = runpy.run_path(str(Path(__file__).with_name('partly_labelled_set.py')))
write, config = tiny['write'], tiny['config']


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


class Sized(PartlyLabelledDataset):
    """Without images."""

    def __init__(self, *sizes):
        self.datasets = [[0] * size for size in sizes]

    def __len__(self):
        return sum(self.sizes)


def sampler(sizes=(3, 5), batch_size=4, labelled=1, rank=0, world_size=1, **kwargs):
    made = PartlyLabelledSampler(
        Sized(*sizes), batch_size, labelled, **{'seed': 4, **kwargs})
    made.rank, made.world_size = rank, world_size
    return made


def batches(count, **kwargs):
    made = sampler(**kwargs)
    size = sum(made.counts)
    return list(itertools.islice(BatchSampler(made, size, True), count))


def test_in_order():
    assert batches(5, shuffle=False) == [
        [0, 3, 4, 5], [1, 6, 7, 3], [2, 4, 5, 6], [0, 7, 3, 4], [1, 5, 6, 7]]


def test_each_kind_is_drawn_evenly_and_has_its_own_epoch():
    found = batches(15)
    labelled = [batch[0] for batch in found]
    others = list(itertools.chain(*(batch[1:] for batch in found)))
    for drawn, images in ((labelled, [0, 1, 2]), (others, [3, 4, 5, 6, 7])):
        size = len(images)
        passes = [drawn[k:k + size] for k in range(0, len(drawn), size)]
        assert all(sorted(p) == images for p in passes)
        assert [[i.epoch for i in p] for p in passes] == [
            [k] * size for k in range(len(passes))]
        assert len({tuple(p) for p in passes}) > 2  # shuffled anew
    assert all(type(index) is SampleIndex for index in labelled + others)


def test_seeds():
    assert batches(6) == batches(6)
    assert batches(6) != batches(6, seed=5)
    one = PartlyLabelledSampler(Sized(3, 5), 4, 1)
    assert isinstance(one.seed, int)


def test_more_labelled_images_in_a_batch_than_there_are():
    [batch] = batches(1, sizes=(2, 1), batch_size=8, labelled=5, shuffle=False)
    assert batch == [0, 1, 0, 1, 0, 2, 2, 2]
    assert [index.epoch for index in batch] == [0, 0, 1, 1, 2, 0, 1, 2]


def test_a_batch_without_unlabelled_images():
    """A control, for which there need not be any."""
    assert batches(2, sizes=(3, 0), labelled=4, shuffle=False) == [
        [0, 1, 2, 0], [1, 2, 0, 1]]


@pytest.mark.parametrize('shuffle', [True, False])
def test_processes_are_disjoint_and_complete(shuffle):
    """Together they draw each image once in each pass, as one process would."""
    parts = [batches(10, rank=rank, world_size=3, shuffle=shuffle)
             for rank in range(3)]
    together = list(itertools.chain(*zip(*parts)))
    assert together == batches(30, shuffle=shuffle)
    for kind, size in ((slice(0, 1), 3), (slice(1, 4), 5)):
        drawn = list(itertools.chain(*(batch[kind] for batch in together)))
        passes = [drawn[k:k + size] for k in range(0, len(drawn), size)]
        assert all(len(set(p)) == size for p in passes)
    assert all(0 <= batch[0] < 3 for batch in together)


def test_an_epoch_draws_the_labelled_images_once():
    straight = batches(16, sizes=(7, 9), labelled=2)
    made = sampler(sizes=(7, 9), labelled=2, endless=False)
    assert len(made) == 16  # four batches of four
    loader = BatchSampler(made, 4, False)
    assert len(loader) == 4
    assert {int(i) for batch in loader for i in batch[:2]} == set(range(7))
    found = []
    for epoch in range(4):
        made.set_epoch(epoch)
        found += loader
    assert found == straight
    assert [i.epoch for i in found[-1]] == [i.epoch for i in straight[-1]]
    # two processes share it
    assert len(sampler(sizes=(7, 9), labelled=2, world_size=2)) == 8


def test_endless_from_any_epoch_on():
    made = sampler()
    made.set_epoch(2)
    found = list(itertools.islice(BatchSampler(made, 4, True), 3))
    assert found == batches(9)[6:]


def test_seeded_batches_keep_the_epochs():
    seeded = SeededBatchSampler(BatchSampler(sampler(), 4, True), endless=8)
    seeded.skip = 2
    found = list(itertools.islice(seeded, 3))
    assert found == batches(5)[2:]
    assert [[i.epoch for i in b] for b in found] == [
        [i.epoch for i in b] for b in batches(5)[2:]]
    assert pickle.loads(pickle.dumps(found[2][3])).epoch == found[2][3].epoch


def test_it_tells_the_numbers():
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = MMLogger.get_instance('sampler')
    logger.addHandler(handler)
    sampler(sizes=(12, 600), batch_size=8, labelled=3)
    assert lines == [
        'Data: 12 labelled and 600 unlabelled images; 3 of 8 in a batch are labelled']


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(labelled=0), 'labelled=0 of a batch_size of 4, expected 1 to 4'),
    (dict(labelled=5), 'labelled=5 of a batch_size of 4, expected 1 to 4'),
    (dict(sizes=(0, 5)), 'there are no labelled images, of which each batch is to '
     'have 1; see train_dataloader.dataset.labelled'),
    (dict(sizes=(3, 0)), 'there are no unlabelled images, of which each batch is to '
     'have 3; see train_dataloader.dataset.unlabelled')])
def test_what_is_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        sampler(**kwargs)


def test_another_data_set():
    with pytest.raises(TypeError, match='the data set is a list, expected '):
        PartlyLabelledSampler([1, 2], 4, 1)


@pytest.mark.parametrize('workers', [0, 2])
def test_loader_of_a_runner(tmp_path, workers):
    """With the options that a base config's sampler leaves behind."""
    loader = Runner.build_dataloader(dict(
        batch_size=3, num_workers=workers, drop_last=True,
        dataset=config(write(tmp_path)),
        sampler=dict(type='PartlyLabelledSampler', shuffle=True, batch_size=3,
                     labelled=1)), seed=0)
    seen = set()
    for batch in itertools.islice(loader, 5):
        labelled = [s.metainfo['labelled'] for s in batch['data_samples']]
        assert labelled == [True, False, False]
        grey = [int(x.max()) for x in batch['inputs']]
        assert [g >= 100 for g in grey] == [False, True, True]
        seen |= set(grey)
    assert seen == {0, 1, 2, 100, 101, 102, 103, 104}
    assert torch.stack(batch['inputs']).shape == (3, 3, 24, 24)


def test_in_the_registry():
    assert DATASETS.get('PartlyLabelledDataset') is PartlyLabelledDataset
