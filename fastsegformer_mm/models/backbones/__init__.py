"""Backbones: EfficientFormerV2; PoolFormer and Swin are borrowed."""

from .efficientformer_v2 import EfficientFormerV2
from .swin_last_norm import SwinLastNorm

__all__ = ['EfficientFormerV2', 'SwinLastNorm']
