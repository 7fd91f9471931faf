"""Checks, at import, that a supported stack is there.

Two stacks share their import names: OneDL's maintained forks
(``onedl-mmsegmentation`` ...) and upstream OpenMMLab (``mmsegmentation`` ...).
Modules are looked at, not distributions, so either will do.
"""

import importlib

from packaging.version import Version

# module: (first supported version, first version that is not)
SUPPORTED = {
    'mmengine': ('0.10.7', '0.11'),
    'mmcv': ('2.1.0', '2.4'),
    'mmseg': ('1.2.2', '1.5'),
}

INSTALL_LINES = (
    'OneDL (no compiler needed):  pip install "fastsegformer-mm[onedl]"\n'
    'upstream OpenMMLab:          pip install "fastsegformer-mm[openmmlab]"'
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
    for name, (first, end) in SUPPORTED.items():
        found = _import(name).__version__
        if not Version(first) <= Version(found) < Version(end):
            raise StackError(
                f'fastsegformer_mm supports {name} >= {first}, < {end}; found '
                f'{name} {found}. Install a stack of supported versions:\n'
                f'{INSTALL_LINES}'
            )
