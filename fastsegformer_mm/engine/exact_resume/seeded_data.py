"""Data loading that can begin at any batch and augments a sample by its place.

PyTorch's workers each draw from a generator of their own, whose state depends on
all that this worker has loaded before. A run that resumes begins with fresh
workers, so that its samples are augmented otherwise than in a run that went
straight on. Here every sample is loaded with generators seeded by (seed, epoch,
index of the sample): the same whichever worker, process or run loads it.
"""

from torch.utils.data import DataLoader, IterableDataset, Sampler

from fastsegformer_mm.utils.sample_index import SampleIndex

from .seeds import derive_seed, seed_generators

# keeps the seeds of samples apart from those of iterations and of epochs
SAMPLE = 0


class SeededFetch:
    """Loads samples, each with generators seeded by (seed, epoch, index).

    To be set as ``__getitems__`` of a data set, which PyTorch's loaders call with
    the indices of a batch, in the worker.

    Args:
        dataset (Dataset): Whose ``__getitem__`` loads a sample.
        seed (int): The seed of the run, the same on every rank.
    """

    def __init__(self, dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __call__(self, indices):
        return [self._load(index) for index in indices]

    def _load(self, index):
        # other loaders of the same data set hand in plain indices
        if isinstance(index, SampleIndex):
            seed_generators(derive_seed(self.seed, SAMPLE, index.epoch, index))
        return self.dataset[int(index)]


class SeededBatchSampler(Sampler):
    """The batches of another batch sampler, from any one on, with their epoch.

    A sampler that yields each :class:`SampleIndex` itself keeps its epochs.

    Args:
        batch_sampler (Iterable[list[int]]): Draws the indices of each batch; the
            same ones whenever its sampler has the same seed and epoch.
        endless (int, optional): For a sampler that never ends: the length of the
            data set; the epoch of a sample is how often the whole of it was drawn.
            Defaults to None: the epoch is :attr:`epoch`.
        rank (int): Of this process, for an endless sampler. Defaults to 0.
        world_size (int): Number of processes. Defaults to 1.

    Attributes:
        epoch (int): Of a sampler that ends.
        skip (int): How many batches the next iteration leaves out; it is 0 again
            afterwards. Their indices are drawn, but no sample is loaded.
    """

    def __init__(self, batch_sampler, endless=None, rank=0, world_size=1) -> None:
        self.batch_sampler = batch_sampler
        self.endless = endless
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skip = 0

    @property
    def sampler(self):
        """What DistSamplerSeedHook tells the epoch."""
        return self.batch_sampler.sampler

    @property
    def batch_size(self):
        return getattr(self.batch_sampler, 'batch_size', None)

    def __iter__(self):
        skip, self.skip = self.skip, 0
        drawn = 0
        for number, batch in enumerate(self.batch_sampler):
            if number >= skip:
                yield [
                    index
                    if isinstance(index, SampleIndex)
                    else SampleIndex(index, self._epoch(drawn + place))
                    for place, index in enumerate(batch)
                ]
            drawn += len(batch)

    def _epoch(self, drawn: int) -> int:
        if self.endless is None:
            return self.epoch
        return (drawn * self.world_size + self.rank) // self.endless

    def __len__(self) -> int:
        return len(self.batch_sampler)


def seeded_loader(loader: DataLoader, seed: int, **kwargs) -> DataLoader:
    """A loader like ``loader``, drawing by a :class:`SeededBatchSampler`.

    Its data set is the same object, which from now on seeds each sample.

    Args:
        loader (DataLoader): With batches of a data set that has indices.
        seed (int): The seed of the run, the same on every rank.
        **kwargs: Further arguments of :class:`SeededBatchSampler`.

    Returns:
        DataLoader: Its ``batch_sampler`` is the :class:`SeededBatchSampler`.

    Raises:
        TypeError: The data set or the loader has no indices to draw.
    """
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        raise TypeError(
            f'the loader of {type(loader.dataset).__name__} has no indices in batches'
        )
    loader.dataset.__getitems__ = SeededFetch(loader.dataset, seed)
    # DataLoader lets none of these be changed once it is made
    return DataLoader(
        loader.dataset,
        batch_sampler=SeededBatchSampler(loader.batch_sampler, **kwargs),
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context,
        generator=loader.generator,
        prefetch_factor=loader.prefetch_factor,
        persistent_workers=loader.persistent_workers,
        pin_memory_device=loader.pin_memory_device,
    )
