"""SEKD: multi-level distillation of SegFormer.

Importing it registers the connectors and losses of the project with MMRazor; a
config does it by ``custom_imports = dict(imports=['sekd'])``.

Raises:
    fastsegformer_mm.compat.MMRazorError: MMRazor is not installed.
"""

# says what is missing where MMRazor is not installed
import fastsegformer_mm.distillation  # isort: split

from . import connectors, losses

del fastsegformer_mm

__all__ = ['connectors', 'losses']
