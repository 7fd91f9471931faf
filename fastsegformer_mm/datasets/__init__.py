"""Data sets and their transforms."""

from . import transforms
from .navel_orange import NavelOrangeDataset
from .neu_seg import NEUSegDataset

__all__ = ['NEUSegDataset', 'NavelOrangeDataset', 'transforms']
