"""Seeds that are a function of a place in the training."""

import random

import numpy as np
import torch


def derive_seed(*place: int) -> np.random.SeedSequence:
    """A well mixed seed of a place such as (seed, epoch, sample).

    Args:
        place (int): Non-negative integers. Neighbouring places give unrelated
            seeds, which adding the numbers up would not: sample 3 of epoch 4 and
            sample 4 of epoch 3 would be augmented alike.

    Returns:
        numpy.random.SeedSequence: for :func:`seed_generators`.

    Example:
        >>> derive_seed(0, 3, 4).generate_state(1)[0]
        np.uint32(2298030710)
    """
    return np.random.SeedSequence(place)


def seed_generators(seed: np.random.SeedSequence, accelerators: bool = False) -> None:
    """Seed the global generators of Python, NumPy and torch.

    They are what transforms, dropout and drop path draw from.

    Args:
        seed (numpy.random.SeedSequence): From :func:`derive_seed`.
        accelerators (bool): Seed torch's generators of the GPUs as well. Defaults to
            False: a worker that loads data must not touch a GPU.
    """
    words = seed.generate_state(4)
    number = int(words[0]) << 32 | int(words[1])
    random.seed(number)
    np.random.seed(words)
    if accelerators:
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)
