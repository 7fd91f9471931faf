"""Networks."""

from . import backbones, decode_heads, layers, segmentors
from .class_prior_init import ClassPriorInit

__all__ = ['ClassPriorInit', 'backbones', 'decode_heads', 'layers', 'segmentors']
