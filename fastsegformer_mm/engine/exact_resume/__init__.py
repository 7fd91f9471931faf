"""Training whose random numbers depend on where it is, not on how it got there."""

from .seeded_data import SampleIndex, SeededBatchSampler, SeededFetch, seeded_loader
from .seeds import derive_seed, seed_generators

__all__ = [
    'SampleIndex',
    'SeededBatchSampler',
    'SeededFetch',
    'derive_seed',
    'seed_generators',
    'seeded_loader',
]
