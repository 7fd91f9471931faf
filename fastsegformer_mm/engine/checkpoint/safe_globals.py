"""What a checkpoint may build, by name, and ``torch.load`` with nothing else.

MMEngine's own checkpoints hold a little more than tensors and plain containers: the
logged history and NumPy scalars. The names below are all that it writes; a file with
anything else is refused. torch has an allow-list of its own from 2.6 on; before, the
restricted unpickler beside this file reads by the same names.
"""

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

from . import unpickler

# whether an object can be allowed under another's name, which getattr needs
TORCH_HAS_ALLOW_LIST = digit_version(torch.__version__) >= digit_version('2.6.0')

# HistoryBuffer pickles its statistics as getattr(HistoryBuffer, name)
_STATISTICS = ('min', 'max', 'mean', 'current')

# numpy.core.multiarray.scalar, which has another place in NumPy 2
_scalar = np.float64(0).__reduce__()[0]


def history_buffer_method(owner, name):
    """Stand in for ``getattr``: methods of ``HistoryBuffer``, nothing else.

    Args:
        owner (type): must be :class:`mmengine.logging.HistoryBuffer`.
        name (str): one of its statistics: min, max, mean, current.

    Raises:
        ValueError: for any other object or name; ``getattr`` itself would let
            a crafted file reach any function.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise ValueError(
            f'the checkpoint asks for {name!r} of {owner!r}; only '
            f'{_STATISTICS} of HistoryBuffer are allowed'
        )
    return getattr(owner, name)


def number_dtype(code, align=False, copy=True):
    """Stand in for ``numpy.dtype``: numbers and booleans.

    Args:
        code (str): such as ``'f8'``.
        align, copy (bool): without effect. The result is always a copy, as the
            byte order that follows in the file is set in place.

    Raises:
        ValueError: for objects, records and texts.
    """
    found = np.dtype(code) if isinstance(code, str) else None
    if found is None or found.kind not in 'biufc':
        raise ValueError(
            f'the checkpoint asks for NumPy values of type {code!r}; only numbers '
            'are allowed'
        )
    return np.dtype(found, copy=True)


def empty_array(subtype, shape, code):
    """Stand in for ``numpy``'s ``_reconstruct``: the array whose content follows.

    Raises:
        ValueError: for another class of arrays.
    """
    if subtype is not np.ndarray:
        raise ValueError(
            f'the checkpoint asks for an array of type {subtype!r}; only '
            'numpy.ndarray is allowed'
        )
    return np.ndarray((0,), 'b')


def mmengine_globals() -> dict:
    """What MMEngine writes besides tensors, {name in the file: object}."""
    allowed = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': history_buffer_method,
        'numpy.dtype': number_dtype,
        'numpy.ndarray': np.ndarray,
    }
    # NumPy 2 has another name for it, and each reads the other's files
    for core in ('numpy._core', 'numpy.core'):
        allowed[f'{core}.multiarray._reconstruct'] = empty_array
        allowed[f'{core}.multiarray.scalar'] = _scalar
    # the classes of the dtypes themselves, e.g. numpy.dtypes.Int64DType
    for code in '?bBhHiIlLqQefdgFD':
        kind = type(np.dtype(code))
        allowed[f'{kind.__module__}.{kind.__qualname__}'] = kind
    return allowed


def safe_load(file, map_location=None):
    """``torch.load`` of tensors, plain containers and :func:`mmengine_globals`.

    Args:
        file (BinaryIO): An open file of ``torch.save``.
        map_location: As for ``torch.load``.

    Raises:
        pickle.UnpicklingError: It holds anything else, or is a TorchScript archive.
        ValueError: It holds something else under an allowed name.
    """
    if not TORCH_HAS_ALLOW_LIST:
        unpickler.refuse_programs(file)
        return torch.load(
            file,
            map_location=map_location,
            pickle_module=unpickler.pickle_module(mmengine_globals()),
            weights_only=False,
        )
    with allowing_mmengine():
        return torch.load(file, map_location=map_location, weights_only=True)


def allowing_mmengine():
    """Context in which ``torch.load(weights_only=True)`` reads what MMEngine writes.

    Nothing stays allowed after it, and what the user has allowed stays so.
    """
    # the context takes away what it was given, also what was allowed before
    ours = {(found, name) for name, found in mmengine_globals().items()}
    ours.difference_update(torch.serialization.get_safe_globals())
    return torch.serialization.safe_globals(list(ours))
