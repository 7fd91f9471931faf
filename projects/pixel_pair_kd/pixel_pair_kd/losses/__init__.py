from .pair_wise_loss import PairWiseLoss
from .pixel_wise_loss import PixelWiseLoss

__all__ = ['PairWiseLoss', 'PixelWiseLoss']
