"""Makes MMRazor 1.0 import on today's PyTorch, without touching its files.

Two things stand in its way. Its quantization part asks for names that torch 2
removed, and the rest of MMRazor imports that part. And it asserts
``mmcv <= 2.1.0``, where OneDL's MMCV is newer. Distillation needs neither the
one nor the other, so the first is replaced by placeholders that say what they
are when they are used, and the second is shown the version that it knows, for
as long as it looks.
"""

import contextlib
import importlib
import importlib.util
import sys
import types
from pathlib import Path

import mmcv
import torch
from mmengine.utils import digit_version

INSTALL_LINE = 'pip install "fastsegformer-mm[razor]"'
NEWEST_MMCV = '2.1.0'  # that MMRazor 1.0.0 accepts
QUANTIZATION = 'mmrazor.structures.quantization'
PARTS = ('models', 'engine', 'datasets', 'implementations')


class MMRazorError(ImportError):
    """MMRazor, or a part of it, cannot be used here."""


def import_mmrazor():
    """Import the whole of MMRazor, so that its registries are filled.

    Where MMRazor imports by itself nothing is changed. Calling it again does
    nothing.

    Returns:
        module: ``mmrazor``.

    Raises:
        MMRazorError: MMRazor, or a package that it needs, is not installed; the
            message has the install line.

    Example:
        >>> import_mmrazor().__version__
        '1.0.0'
    """
    if importlib.util.find_spec('mmrazor') is None:
        raise MMRazorError(
            'distillation needs MMRazor, which is not installed: '
            f'{INSTALL_LINE}, or pip install mmrazor==1.0.0 joblib'
        )
    try:
        mmrazor = _import_root()
        if not _imports_by_itself(QUANTIZATION):
            _replace_quantization(mmrazor)
        for part in PARTS:
            importlib.import_module(f'mmrazor.{part}')
    except ModuleNotFoundError as error:
        # MMRazor does not declare all that it imports (joblib)
        raise MMRazorError(
            f'distillation needs MMRazor, which needs {error.name}, which is not '
            f'installed: {INSTALL_LINE}, or pip install {error.name}'
        ) from error
    return mmrazor


def _import_root():
    """``import mmrazor``, whose only content is the check of versions."""
    found = mmcv.__version__
    if 'mmrazor' in sys.modules or digit_version(found) <= digit_version(NEWEST_MMCV):
        return importlib.import_module('mmrazor')
    mmcv.__version__ = NEWEST_MMCV
    try:
        mmrazor = importlib.import_module('mmrazor')
    finally:
        mmcv.__version__ = found
    mmrazor.mmcv_version = digit_version(found)
    return mmrazor


def _imports_by_itself(name):
    """Whether ``import name`` works; what a failure leaves behind is removed."""
    before = set(sys.modules)
    # what torch removed shows as either error; anything else is not for us to hide
    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module(name)
        return True
    for half_made in set(sys.modules) - before:
        if half_made.startswith('mmrazor.'):
            del sys.modules[half_made]
    return False


def _replace_quantization(mmrazor):
    """Put a placeholder in the place of every module of the quantization part."""
    root = Path(mmrazor.__file__).parent
    for file in sorted(root.joinpath('structures', 'quantization').rglob('*.py')):
        parts = file.relative_to(root.parent).with_suffix('').parts
        name = '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)
        sys.modules[name] = module = _PlaceholderModule(name)
        parent, _, child = name.rpartition('.')
        if parent in sys.modules:
            setattr(sys.modules[parent], child, module)
    importlib.import_module('mmrazor.structures').quantization = sys.modules[
        QUANTIZATION
    ]


class _PlaceholderModule(types.ModuleType):
    """A module whose every name is a :class:`_Placeholder`."""

    __all__ = ()  # `from ... import *` takes nothing
    __path__ = ()  # a package, as the modules below it are placeholders too

    def __getattr__(self, name):
        if name.startswith('__'):
            raise AttributeError(name)
        return _Placeholder(name, (), {})


class _Placeholder(type):
    """A class that can be named, in annotations too, but not used.

    MMRazor's quantizers import two such names when they are defined; the error
    comes when one is called, indexed or asked for an attribute.
    """

    def _refuse(cls, *args, **kwargs):
        raise MMRazorError(
            f"MMRazor's quantization ({cls.__name__}) asks for names that torch "
            f'{torch.__version__} does not have; the rest of MMRazor works. '
            'Quantize with it on torch < 2, or quantize the exported student'
        )

    __call__ = __getitem__ = _refuse

    def __getattr__(cls, name):
        if name.startswith('__'):
            raise AttributeError(name)
        cls._refuse()
