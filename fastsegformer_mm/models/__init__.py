"""Networks."""

from . import backbones, decode_heads, layers, segmentors

__all__ = ['backbones', 'decode_heads', 'layers', 'segmentors']
