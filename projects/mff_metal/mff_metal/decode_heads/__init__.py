"""Decode heads."""

from .lmffnet_head import LMFFNetHead
from .mff_metal_head import MFFMetalHead

__all__ = ['LMFFNetHead', 'MFFMetalHead']
