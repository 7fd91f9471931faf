"""Checks, at import, that a supported stack is there.

Two stacks share their import names: OneDL's maintained forks
(``onedl-mmsegmentation`` ...) and upstream OpenMMLab (``mmsegmentation`` ...).
Modules are looked at, not distributions, so either will do.

Nothing here needs MMCV's compiled operators. Upstream's MMSegmentation imports three
of them as it is imported itself, though only SAN, MaskFormer and FocalLoss on a GPU use
them; with mmcv-lite it is shown stand-ins for as long as it looks, as OneDL's does by
itself.
"""

import importlib
import importlib.util
import sys
import types
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

# MMSegmentation 1.2.2 refuses mmcv 2.2
SUPPORTED = {
    'mmengine': '>=0.10.7,<0.11',
    'mmcv': '>=2.1.0,!=2.2.*,<2.4',
    'mmseg': '>=1.2.2,<1.5',
}

INSTALL_LINES = (
    'OneDL:               pip install "fastsegformer-mm[onedl]"\n'
    'upstream OpenMMLab:  pip install "fastsegformer-mm[openmmlab]"'
)


class StackError(ImportError):
    """The deep-learning stack is missing or of an unsupported version."""


def _import(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # mmseg may be there and miss a dependency: name what is really absent
        raise StackError(
            f'fastsegformer_mm needs {name}, and {error.name} is not '
            f'installed. Install one of the two stacks:\n{INSTALL_LINES}'
        ) from error


def check_stack():
    """Import torch, mmengine, mmcv and mmseg and compare their versions.

    Raises:
        StackError: one of them is absent (the message gives the install line
            of either stack) or its version is outside :data:`SUPPORTED` (the
            message names the version found and the versions supported).
    """
    _import('torch')
    # mmseg comes last: it asserts the versions of the others itself, in words
    # that name only one of them
    for name, versions in SUPPORTED.items():
        found = _import(name).__version__
        if Version(found) not in SpecifierSet(versions):
            raise StackError(
                f'fastsegformer_mm supports {name}{versions}; found {name} {found}. '
                f'Install a stack of supported versions:\n{INSTALL_LINES}'
            )
    # OneDL's, from 1.3 on, does by itself without them
    upstream = Version(sys.modules['mmseg'].__version__) < Version('1.3')
    if upstream and importlib.util.find_spec('mmcv._ext') is None:
        _import_mmseg_without_ops()


def _import_mmseg_without_ops():
    """Import MMSegmentation where mmcv.ops cannot be imported.

    ``point_sample`` needs no compiled code and is taken from its file. The names that
    MMSegmentation can do without are absent. Nothing is left of it afterwards, so that
    others find mmcv.ops as absent as it is.
    """
    ops = types.ModuleType('mmcv.ops')
    ops.sigmoid_focal_loss = _sigmoid_focal_loss
    ops.point_sample = _point_sample()

    ops.__getattr__ = _absent
    sys.modules['mmcv.ops'] = ops
    try:
        importlib.import_module('mmseg.models')
    finally:
        del sys.modules['mmcv.ops']


def _absent(name):
    if name.startswith('__'):
        raise AttributeError(name)
    raise ModuleNotFoundError(f'{name} of mmcv.ops is not compiled', name='mmcv._ext')


def _point_sample():
    """mmcv.ops.point_sample, without the rest of mmcv.ops."""
    mmcv = Path(sys.modules['mmcv'].__file__).parent
    spec = importlib.util.spec_from_file_location(
        'mmcv.ops.point_sample', mmcv / 'ops' / 'point_sample.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.point_sample


def _sigmoid_focal_loss(*args, **kwargs):
    raise StackError(
        'FocalLoss on a GPU runs an operator of mmcv, and this mmcv '
        f'{sys.modules["mmcv"].__version__} was installed without them (mmcv-lite): '
        'install mmcv of the same version with its operators, or another loss'
    )
