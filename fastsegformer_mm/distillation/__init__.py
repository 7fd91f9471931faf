"""Distillation: MMRazor's grammar with FastSegFormer's losses and algorithm.

Importing it registers every part in MMRazor's registries; a config does it by
``custom_imports = dict(imports=['fastsegformer_mm.distillation'])``.

Raises:
    fastsegformer_mm.compat.MMRazorError: MMRazor is not installed.
"""

from fastsegformer_mm.compat import import_mmrazor

import_mmrazor()

from . import algorithms, batch_augments, hooks, losses
from .errors import DistillationError

__all__ = ['DistillationError', 'algorithms', 'batch_augments', 'hooks', 'losses']
