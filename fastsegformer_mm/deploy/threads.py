"""Thread pools that do not fight, and that do not keep the process."""

import os
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future

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


class DaemonPool:
    """A thread pool that does not keep the process alive.

    At its exit Python joins the threads of ``ThreadPoolExecutor``, and so waits for
    ever for a call of a native library that does not return.

    Args:
        count (int): Threads at most; each starts when it is needed first.
        name (str): What their names begin with.

    Example:
        >>> pool = DaemonPool(2, 'power')
        >>> pool.submit(pow, 2, 3).result()
        8
        >>> pool.shutdown()
    """

    def __init__(self, count: int, name: str):
        self.count, self.name = count, name
        self._jobs, self._lock, self._started = queue.SimpleQueue(), threading.Lock(), 0
        # as threads hold the queue only, they end also when the pool is forgotten
        self._finalizer = weakref.finalize(self, self._jobs.put, None)

    def submit(self, function: Callable, *args) -> Future:
        """Run ``function(*args)`` in one of the threads.

        Raises:
            RuntimeError: The pool has been shut down.
        """
        future = Future()
        with self._lock:
            if not self._finalizer.alive:
                raise RuntimeError(f'the pool {self.name!r} has been shut down')
            self._jobs.put((future, function, args))
            if self._started < self.count:
                threading.Thread(
                    target=_work,
                    args=(self._jobs,),
                    name=f'{self.name}_{self._started}',
                    daemon=True,
                ).start()
                self._started += 1
        return future

    def shutdown(self) -> None:
        """Take no more jobs; those that were submitted are done."""
        with self._lock:
            self._finalizer()


def _work(jobs):
    while (job := jobs.get()) is not None:
        future, function, args = job
        try:
            result = function(*args)
        except BaseException as error:
            outcome, value = future.set_exception, error
        else:
            outcome, value = future.set_result, result
        # whoever waits may be the last to hold what was worked on
        job = function = args = result = None
        outcome(value)
        future = outcome = value = None
    # to the next thread
    jobs.put(None)
