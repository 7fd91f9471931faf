"""Peak of memory: of this process on a CPU, of PyTorch's tensors on a GPU."""

import contextlib
import sys
from pathlib import Path

import torch


def reset_peak(device: torch.device) -> None:
    """Forget the peak so far.

    Of a process only Linux can; elsewhere the peak since it began is read.
    """
    if device.type == 'cuda':
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5', 'utf-8')


def read_peak(device: torch.device) -> int:
    """Bytes: the resident set's peak (VmHWM), or ``max_memory_allocated``.

    Example:
        >>> read_peak(torch.device('cpu')) > 2**20
        True
    """
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path('/proc/self/status').read_text('utf-8')
        return int(status.split('VmHWM:')[1].split()[0]) * 1024
    except (OSError, IndexError):
        return _process_peak()


def _process_peak():
    """The resident set's peak where there is no /proc."""
    if sys.platform == 'win32':
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    # kilobytes, of macOS bytes
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
