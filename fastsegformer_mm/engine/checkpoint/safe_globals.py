"""What ``torch.load(weights_only=True)`` may build from MMEngine's checkpoints.

Since torch 2.6 ``torch.load`` refuses everything but plain containers and
tensors unless it is allowed by name. MMEngine's own checkpoints hold a little
more (the logged history, NumPy scalars), so that upstream's MMEngine can
neither test nor resume what it has just written. The names below are all that
it writes; a file with anything else is still refused.
"""

import contextlib

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version

# HistoryBuffer pickles its statistics as getattr(HistoryBuffer, name)
_STATISTICS = ('min', 'max', 'mean', 'current')


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


@contextlib.contextmanager
def mmengine_globals():
    """Within it, ``torch.load(weights_only=True)`` reads what MMEngine writes.

    Nothing stays allowed after it, and what the user has allowed stays so.
    """
    # earlier ones cannot allow an object under another's name, which getattr needs
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        yield
        return
    multiarray = (np._core if hasattr(np, '_core') else np.core).multiarray
    ours = {
        HistoryBuffer,
        (history_buffer_method, 'builtins.getattr'),
        (multiarray._reconstruct, 'numpy._core.multiarray._reconstruct'),
        (multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (multiarray.scalar, 'numpy._core.multiarray.scalar'),
        (multiarray.scalar, 'numpy.core.multiarray.scalar'),
        np.ndarray,
        np.dtype,
        # the classes of the dtypes themselves, e.g. numpy.dtypes.Int64DType
        *{type(np.dtype(code)) for code in '?bBhHiIlLqQefd'},
    }
    # the context takes away what it was given, also what was allowed before
    ours.difference_update(torch.serialization.get_safe_globals())
    with torch.serialization.safe_globals(list(ours)):
        yield
