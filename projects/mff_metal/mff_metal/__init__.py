"""MFF-Metal and LMFFNet: light networks for defects of metal surfaces.

Importing it registers the networks, losses and transforms of the project with
MMSegmentation; a config does it by ``custom_imports = dict(imports=['mff_metal'])``.
"""

from . import backbones, decode_heads, losses, rivals, transforms

__all__ = ['backbones', 'decode_heads', 'losses', 'rivals', 'transforms']
