"""Losses of MFF-Metal: sums over pixels, divided by the images of a batch."""

from .mff_boundary_loss import MFFBoundaryLoss
from .mff_dice_loss import MFFDiceLoss
from .summed_cross_entropy_loss import SummedCrossEntropyLoss

__all__ = ['MFFBoundaryLoss', 'MFFDiceLoss', 'SummedCrossEntropyLoss']
