"""Blocks shared by the decode heads."""

from .attention_gate import AttentionGate
from .multi_scale_pyramid import MultiScalePyramid
from .pyramid_pooling import PyramidPooling

__all__ = ['AttentionGate', 'MultiScalePyramid', 'PyramidPooling']
