"""Backbones."""

from .lmffnet import LMFFNet
from .mff_metal_encoder import MFFMetalEncoder

__all__ = ['LMFFNet', 'MFFMetalEncoder']
