"""The generators of each sample, and the batches from any one on."""

import pickle
import random
from itertools import islice

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset

from fastsegformer_mm.engine.exact_resume import (
    SampleIndex,
    SeededBatchSampler,
    derive_seed,
    seed_generators,
    seeded_loader,
)


class Draws(Dataset):
    """What the three generators give while a sample is loaded."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        assert type(index) is int
        return index, random.random(), np.random.rand(), torch.rand(1).item()


def draws(loader):
    return [sample for batch in loader for sample in batch]


def loader(seed=0, workers=0, context=None, skip=0, epoch=0):
    made = seeded_loader(
        DataLoader(
            Draws(), batch_size=2, collate_fn=list, num_workers=workers,
            sampler=DefaultSampler(Draws(), shuffle=False, seed=0),
            multiprocessing_context=context),
        seed)
    made.batch_sampler.skip = skip
    made.batch_sampler.epoch = epoch
    return made


def test_a_sample_is_loaded_alike_by_whoever_loads_it():
    alone = draws(loader())
    assert [s[0] for s in alone] == [0, 1, 2, 3, 4]
    assert len({s[1:] for s in alone}) == 5
    random.seed(9)
    torch.manual_seed(9)
    assert draws(loader(workers=2)) == alone
    assert draws(loader(workers=3)) == alone


def test_workers_that_are_spawned():
    """They get the data set by pickling."""
    dataset = pickle.loads(pickle.dumps(loader().dataset))
    assert dataset.__getitems__([SampleIndex(3, 0)]) == [draws(loader())[3]]


def test_epochs_and_seeds_differ():
    first = draws(loader())
    for other in (loader(epoch=1), loader(seed=1)):
        found = draws(other)
        assert [s[0] for s in found] == [s[0] for s in first]
        assert not {s[1] for s in found} & {s[1] for s in first}


def test_skipped_batches_once():
    made = loader(skip=1)
    straight = draws(loader())
    assert draws(made) == straight[2:]
    assert draws(made) == straight
    assert len(made) == 3


def test_plain_indices_are_left_alone():
    dataset = loader().dataset
    torch.manual_seed(5)
    expected = torch.rand(1).item()
    torch.manual_seed(5)
    assert dataset.__getitems__([1])[0][3] == expected


@pytest.mark.parametrize('world_size', [1, 2])
def test_passes_of_an_endless_sampler(monkeypatch, world_size):
    """Over all ranks, each pass has every sample once."""
    passes = {}
    for rank in range(world_size):
        monkeypatch.setattr(
            'mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (
                rank, world_size))
        batches = SeededBatchSampler(
            BatchSampler(InfiniteSampler(range(5), seed=0), 2, False),
            endless=5, rank=rank, world_size=world_size)
        for batch in islice(batches, 10):
            for index in batch:
                passes.setdefault(index.epoch, []).append(int(index))
    for number in range(4 * world_size - 1):
        assert sorted(passes[number]) == [0, 1, 2, 3, 4]


def test_endless_sampler_from_the_middle():
    def batches():
        return SeededBatchSampler(
            BatchSampler(InfiniteSampler(range(5), seed=0), 2, False), endless=5)

    straight = list(islice(batches(), 8))
    late = batches()
    late.skip = 4
    found = list(islice(late, 4))
    assert found == straight[4:]
    assert [[i.epoch for i in b] for b in found] == [[1, 1], [2, 2], [2, 2], [2, 3]]


def test_index_is_pickled_with_its_epoch():
    index = pickle.loads(pickle.dumps(SampleIndex(3, 7)))
    assert (index, index.epoch, type(index)) == (3, 7, SampleIndex)


def test_places_next_to_each_other():
    """Adding numbers up would give (3, 4) and (4, 3) one seed."""
    found = {tuple(derive_seed(0, a, b).generate_state(4))
             for a in range(20) for b in range(20)}
    assert len(found) == 400


def test_generators_of_an_iteration():
    seed_generators(derive_seed(1, 2), accelerators=True)
    first = random.random(), np.random.rand(), torch.rand(1).item()
    seed_generators(derive_seed(1, 2))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == first


class Stream(IterableDataset):
    def __iter__(self):
        yield 1


def test_no_indices_to_draw():
    with pytest.raises(TypeError, match='Stream has no indices'):
        seeded_loader(DataLoader(Stream()), 0)
    with pytest.raises(TypeError, match='Draws has no indices'):
        seeded_loader(DataLoader(Draws(), batch_size=None), 0)
