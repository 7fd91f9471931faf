"""Batches with a stated number of labelled images."""

import itertools
from collections.abc import Iterator

import torch
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import BatchSampler, Sampler

from .partly_labelled import PartlyLabelledDataset
from .sample_index import SampleIndex


@DATA_SAMPLERS.register_module()
class PartlyLabelledBatchSampler(BatchSampler):
    """Draw batches of ``labelled`` labelled images, then unlabelled ones.

    Both kinds are shuffled and drawn without end, each on its own: a set of 12 images
    is seen many times until one of 3,000 was seen once. Several processes draw
    different images. With an iteration-based loop (InfiniteSampler) the batches never
    end; with an epoch-based one (DefaultSampler) an epoch has as many batches as are
    needed to see the labelled images once, and the next epoch goes on where the
    unlabelled ones were left.

    Args:
        sampler (Sampler): That of the data loader, over a
            :class:`PartlyLabelledDataset`. Seed and number of processes are its own.
        batch_size (int): That of the data loader, of one process.
        labelled (int): Labelled images of each batch.
        drop_last (bool): Not used: all batches are whole. Defaults to True.

    Raises:
        TypeError: The data set is no PartlyLabelledDataset.
        ValueError: ``labelled`` is not between 1 and ``batch_size`` - 1.

    Example:
        >>> train_dataloader = dict(
        ...     batch_size=8, sampler=dict(type='InfiniteSampler'),
        ...     batch_sampler=dict(type='PartlyLabelledBatchSampler', labelled=4))
    """

    def __init__(
        self, sampler: Sampler, batch_size: int, labelled: int, drop_last: bool = True
    ) -> None:
        if not isinstance(sampler.dataset, PartlyLabelledDataset):
            raise TypeError(
                'PartlyLabelledBatchSampler draws from a PartlyLabelledDataset, not '
                f'from {type(sampler.dataset).__name__}: set train_dataloader.dataset'
            )
        if not 0 < labelled < batch_size:
            raise ValueError(
                f'PartlyLabelledBatchSampler: labelled={labelled} of batches of '
                f'{batch_size}; expected 1 to {batch_size - 1}'
            )
        super().__init__(sampler, batch_size, drop_last)
        self.labelled = labelled
        self.sizes = sampler.dataset.sizes

    def __iter__(self) -> Iterator[list[SampleIndex]]:
        batches = self._endless()
        if isinstance(self.sampler, InfiniteSampler):
            return batches
        start = self.sampler.epoch * len(self)
        return itertools.islice(batches, start, start + len(self))

    def __len__(self) -> int:
        """Batches of an epoch of one process."""
        return -(-self.sizes[0] // (self.labelled * self.sampler.world_size))

    def _endless(self):
        labelled, unlabelled = self._draw(0), self._draw(1)
        others = self.batch_size - self.labelled
        while True:
            yield [
                *itertools.islice(labelled, self.labelled),
                *itertools.islice(unlabelled, others),
            ]

    def _draw(self, kind):
        """The indices of one kind that this process gets, without end."""
        sampler = self.sampler
        drawn = _shuffled(self.sizes[kind], sampler.seed + kind, self.sizes[0] * kind)
        return itertools.islice(drawn, sampler.rank, None, sampler.world_size)


def _shuffled(size, seed, offset):
    generator = torch.Generator()
    generator.manual_seed(seed)
    for epoch in itertools.count():
        for index in torch.randperm(size, generator=generator).tolist():
            yield SampleIndex(offset + index, epoch)
