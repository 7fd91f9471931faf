"""Networks that MFF-Metal is compared with and that MMSegmentation lacks."""

from .attention_unet import AttentionUNet
from .trans_unet import TransUNet
from .unet_plus_plus import UNetPlusPlus

__all__ = ['AttentionUNet', 'TransUNet', 'UNetPlusPlus']
