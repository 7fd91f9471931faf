"""Data sets and their transforms."""

from . import transforms
from .navel_orange import NavelOrangeDataset
from .neu_seg import NEUSegDataset
from .partly_labelled import PartlyLabelledDataset
from .partly_labelled_sampler import PartlyLabelledSampler
from .unlabelled import UnlabelledDataset

__all__ = [
    'NEUSegDataset',
    'NavelOrangeDataset',
    'PartlyLabelledDataset',
    'PartlyLabelledSampler',
    'UnlabelledDataset',
    'transforms',
]
