"""Decode heads: the students' and the teachers'."""

from .att_unet_head import AttUNetHead
from .fastsegformer_head import FastSegFormerHead

__all__ = ['AttUNetHead', 'FastSegFormerHead']
