"""Batches with a stated number of labelled images."""

import itertools
from collections.abc import Iterator

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.logging import print_log
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler

from fastsegformer_mm.utils.sample_index import SampleIndex

from .partly_labelled import PartlyLabelledDataset


@DATA_SAMPLERS.register_module()
class PartlyLabelledSampler(Sampler):
    """Let each batch have ``labelled`` labelled images, and unlabelled ones behind.

    Both kinds are drawn without end, each shuffled anew whenever all of it was drawn:
    12 labelled images are seen many times until 600 unlabelled ones were seen once.
    Several processes draw different images, and each has this many in its batch.

    An epoch is as many batches as draw every labelled image once; the next one goes
    on where the unlabelled ones were left. What is drawn depends on seed and epoch
    alone, so that a training can go on at any batch (:class:`ExactResumeHook`).

    Args:
        dataset (PartlyLabelledDataset): What is drawn from; given by the data loader.
        batch_size (int): That of the data loader, of one process.
        labelled (int): Labelled images of each batch, 1 to ``batch_size``.
        endless (bool): Never stop, for ``IterBasedTrainLoop``. False stops after an
            epoch, for ``EpochBasedTrainLoop``. Defaults to True.
        shuffle (bool): False draws in the order of the lists. Defaults to True.
        seed (int, optional): The same in all processes; given by the data loader.
            Defaults to None, a random one.

    Raises:
        TypeError: ``dataset`` is no PartlyLabelledDataset.
        ValueError: ``labelled`` is out of its range, or there are no images of a kind
            that is drawn.

    Example:
        >>> train_dataloader = dict(
        ...     batch_size=8,
        ...     sampler=dict(type='PartlyLabelledSampler', batch_size=8, labelled=4))
    """

    def __init__(self, dataset: PartlyLabelledDataset, batch_size: int, labelled: int,
                 endless: bool = True, shuffle: bool = True,
                 seed: int | None = None) -> None:
        if not isinstance(dataset, PartlyLabelledDataset):
            raise TypeError(
                f'PartlyLabelledSampler: the data set is a {type(dataset).__name__}, '
                "expected train_dataloader.dataset=dict(type='PartlyLabelledDataset', "
                'labelled=..., unlabelled=...)')
        if not 1 <= labelled <= batch_size:
            raise ValueError(
                f'PartlyLabelledSampler: labelled={labelled} of a batch_size of '
                f'{batch_size}, expected 1 to {batch_size}; half is a good start')
        self.dataset = dataset
        self.sizes = dataset.sizes
        self.counts = (labelled, batch_size - labelled)
        for kind, size, count in zip(('labelled', 'unlabelled'), self.sizes,
                                     self.counts):
            if count and not size:
                raise ValueError(
                    f'PartlyLabelledSampler: there are no {kind} images, of which each '
                    f'batch is to have {count}; see train_dataloader.dataset.{kind}')
        self.endless = endless
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.rank, self.world_size = get_dist_info()
        self.epoch = 0
        print_log(
            f'Data: {self.sizes[0]} labelled and {self.sizes[1]} unlabelled images; '
            f'{labelled} of {batch_size} in a batch are labelled', 'current')

    def __iter__(self) -> Iterator[SampleIndex]:
        """The samples of this process, batch after batch."""
        first = self.epoch * self._batches
        orders: dict[int, tuple] = {}
        numbers = itertools.count(first) if self.endless else range(
            first, first + self._batches)
        for number in numbers:
            # the batches of all processes, in turns
            number = number * self.world_size + self.rank
            for kind, count in enumerate(self.counts):
                for drawn in range(number * count, (number + 1) * count):
                    epoch, place = divmod(drawn, self.sizes[kind])
                    if orders.get(kind, (None, ))[0] != epoch:
                        orders[kind] = epoch, self._order(kind, epoch)
                    yield SampleIndex(
                        kind * self.sizes[0] + int(orders[kind][1][place]), epoch)

    def _order(self, kind: int, epoch: int) -> np.ndarray:
        """How all images of a kind are drawn once."""
        if not self.shuffle:
            return np.arange(self.sizes[kind])
        generator = np.random.default_rng((self.seed, kind, epoch))
        return generator.permutation(self.sizes[kind])

    @property
    def _batches(self) -> int:
        """Batches of an epoch of one process."""
        return -(-self.sizes[0] // (self.counts[0] * self.world_size))

    def __len__(self) -> int:
        """Samples of an epoch of one process."""
        return self._batches * sum(self.counts)

    def set_epoch(self, epoch: int) -> None:
        """The epoch at which the next iteration begins."""
        self.epoch = epoch
