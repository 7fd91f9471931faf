"""Pixel-wise and pair-wise distillation of DeepLabV3+.

Importing it registers the losses of the project with MMRazor; a config does it by
``custom_imports = dict(imports=['pixel_pair_kd'])``.
"""

# without the package's distillation MMRazor does not import
from fastsegformer_mm import distillation

from . import losses

__all__ = ['distillation', 'losses']
