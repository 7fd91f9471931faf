"""The one loader of checkpoints."""

import collections
import contextlib
import logging
import os
import pickletools
import re
from pathlib import Path

import torch
from mmengine.logging import print_log

from . import safe_globals
from .contents import AGAIN, kind_of, some
from .download import fetch
from .errors import CheckpointError
from .tensors_file import read_safetensors

# Asks for pickle, for one file, by its name.
UNSAFE = 'unsafe-pickle://'


def read_checkpoint(path, map_location='cpu'):
    """Load a checkpoint without running any code from it.

    Args:
        path (str | Path): A file of ``torch.save`` or safetensors, or an
            ``http(s)://`` URL (downloaded once, into PyTorch's hub cache). Only with
            the prefix ``unsafe-pickle://`` may the file hold other objects than
            tensors and what MMEngine writes; code in it then runs.
        map_location (str | torch.device | Callable, optional): Where the tensors go,
            as for ``torch.load``. Defaults to ``'cpu'``.

    Returns:
        The file's content as it is: nothing is unwrapped. Of a safetensors file,
        ``{'state_dict': ..., 'meta': ...}``.

    Raises:
        CheckpointError: It is no checkpoint, holds other objects, or is damaged. One
            that is absent gives a FileNotFoundError too.

    Example:
        >>> torch.save({'w': torch.ones(2)}, '/tmp/weights.pth')
        >>> read_checkpoint('/tmp/weights.pth')
        {'w': tensor([1., 1.])}
    """
    name = os.fspath(path)
    trusted = name.startswith(UNSAFE)
    if trusted:
        name = name.removeprefix(UNSAFE)
        print_log(
            f'{UNSAFE} was asked for: {name} is loaded with pickle, which runs '
            'whatever code the file holds',
            'current',
            logging.WARNING,
        )
    if name.startswith(('http://', 'https://')):
        return fetch(name, lambda file: read_file(file, name, map_location, trusted))
    return read_file(Path(name).expanduser(), name, map_location, trusted)


def read_file(path: Path, name: str, map_location='cpu', trusted: bool = False):
    """Load a local file that messages call ``name``; see :func:`read_checkpoint`."""
    try:
        kind = kind_of(path, name, trusted)
        if kind == 'safetensors':
            return read_safetensors(path, name, map_location)
        with path.open('rb') as file:
            if trusted:
                return torch.load(file, map_location=map_location, weights_only=False)
            return safe_globals.safe_load(file, map_location)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f'checkpoint {name!r} cannot be read ({error}): give the path of a file '
            'that you may read'
        ) from error
    except Exception as error:  # torch.load raises many types on a foreign file
        raise CheckpointError(
            f'checkpoint {name!r} {_reason(error, path, name, kind, trusted)}'
        ) from error


def _reason(error, path, name, kind, trusted):
    """Why torch.load fails on a file that looks sound, and the way out."""
    text = str(error).strip() or type(error).__name__
    short = text.splitlines()[0]
    if kind == 'pickle' and ('unexpected EOF' in text or _is_cut(path)):
        return (
            f'is truncated: it stops after {path.stat().st_size:,} bytes: {AGAIN}, or '
            'take an earlier checkpoint'
        )
    foreign = [] if trusted else _foreign(path, text)
    trust = f'if you trust its source, {UNSAFE + name!r} loads it with pickle'
    if any(n.startswith('torch.nn.modules.') for n in foreign):
        return (
            f'is a whole pickled network (it asks for {some(foreign, 4)}), and loading '
            'it could run code from it. Save its weights alone, '
            f"torch.save(model.state_dict(), 'weights.pth'); {trust}"
        )
    if foreign or 'asks for' in text:
        asks = f'it asks for {some(foreign, 4)}' if foreign else short
        return (
            f'holds other objects than tensors ({asks}), and loading it could run '
            f'code from it. Take a file of weights alone; {trust}'
        )
    return f'cannot be loaded ({type(error).__name__}: {short}): {AGAIN}'


def _is_cut(path):
    """Whether the pickles that an old file begins with are not all there."""
    with path.open('rb') as file:
        try:
            # magic number, protocol, system, content, names of the storages
            for _ in range(5):
                collections.deque(pickletools.genops(file), maxlen=0)
        except ValueError:
            return True
    return False


def _foreign(path, text):
    """Names of what a file wants to build and may not; nothing is built."""
    found = []
    # of an old or odd file torch does not tell them
    if safe_globals.TORCH_HAS_ALLOW_LIST:
        allowing = safe_globals.allowing_mmengine()
        with allowing, contextlib.suppress(ValueError, RuntimeError):
            found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    return sorted(found) or re.findall(r'GLOBAL (\S+)', text)[:1]
