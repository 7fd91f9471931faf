"""Thread pools that do not fight."""

import os
import threading
import weakref

import cv2
import torch


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadShare:
    """Holds PyTorch and OpenCV to a number of threads while a runtime works.

    A runtime has a thread pool of its own. Those of PyTorch and OpenCV, which prepare
    frames and masks beside it, would take the processor from it and from each other:
    with one thread each a stage takes 0.7 ms that otherwise takes 16. So they are set
    when a segmentor is made, for the whole process, and come back to what they were
    when the last one is closed or forgotten.

    Args:
        torch_threads (int, optional): Of PyTorch. Defaults to 1; where PyTorch is the
            runtime itself, None leaves it its own number.

    Example:
        >>> share = ThreadShare()
        >>> cv2.getNumThreads()
        1
        >>> share.close()
    """

    _lock = threading.RLock()
    _holders = 0
    _before = None

    def __init__(self, torch_threads: int | None = 1):
        with self._lock:
            if not ThreadShare._holders:
                ThreadShare._before = torch.get_num_threads(), cv2.getNumThreads()
            ThreadShare._holders += 1
            self.torch_threads = torch_threads or ThreadShare._before[0]
        self._finalizer = weakref.finalize(self, ThreadShare._release)
        self.ensure()

    def ensure(self) -> None:
        """Set them again, where another segmentor or the program has changed them."""
        if torch.get_num_threads() != self.torch_threads:
            torch.set_num_threads(self.torch_threads)
        if cv2.getNumThreads() != 1:
            cv2.setNumThreads(1)

    def close(self) -> None:
        """Give them back; the last one to do so restores what was before."""
        self._finalizer()

    @classmethod
    def _release(cls):
        with cls._lock:
            cls._holders -= 1
            if not cls._holders:
                threads, opencv = cls._before
                torch.set_num_threads(threads)
                cv2.setNumThreads(opencv)
