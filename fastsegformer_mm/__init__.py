"""FastSegFormer for MMSegmentation.

Importing the package registers its networks, data sets, transforms, metrics
and hooks in the registries of MMSegmentation, and changes nothing else; a config
does it by ``custom_imports = dict(imports=['fastsegformer_mm'])``. What replaces
parts of MMEngine is a module of its own, ``robust_training``.

Raises:
    fastsegformer_mm.stack.StackError: torch, mmengine, mmcv or mmseg is absent
        or of an unsupported version.
"""

from .stack import check_stack
from .version import __version__

check_stack()

from . import datasets, engine, evaluation, models

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'models']
