"""Ctrl-C, SIGTERM and a closed terminal end a tool, whatever its threads do."""

import atexit
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

INTERRUPTED = 130
# seconds from the first signal to the end of the process, for whatever is in work
LIMIT = 4.0
# signals that were handled since a tool has begun
_came = []

# A thread in native code that never returns may hold the GIL, and then no Python runs.
# So another process keeps the time. It reads the numbers of signals, asks for an exit
# from Python, which has to run for that, and kills half a second later. It ends with
# its input, which is closed when the process that it watches has ended.
_WATCHER = """
import os, signal, sys, threading, time
process, limit = int(sys.argv[1]), float(sys.argv[2])
numbers = set(map(int, sys.argv[3:]))
def end():
    os.write(1, b'.')
    time.sleep(0.5)
    os.kill(process, getattr(signal, 'SIGKILL', signal.SIGTERM))
timer = threading.Timer(limit, end)
timer.daemon = True
while came := os.read(0, 64):
    if timer.ident is None and numbers & set(came):
        timer.start()
"""


def run_tool(main: Callable[[], int | None], limit: float = LIMIT) -> int | None:
    """Run a tool so that signals end its process in time.

    A signal raises KeyboardInterrupt in the main thread, unless ``main`` handles it.
    ``limit`` seconds later the process ends as it is: with exit code 130, or by SIGKILL
    where a thread in native code keeps the GIL.

    Args:
        main (Callable): The tool; its return value is an exit code.
        limit (float): Seconds after the first signal. Defaults to 4.

    Returns:
        int | None: The exit code; 130 if KeyboardInterrupt has left ``main``.

    Example:
        >>> run_tool(lambda: 0)
        0
    """
    watcher = _watch(limit)
    _came.clear()
    try:
        with handled_signals():
            code = main()
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        code = INTERRUPTED
    finally:
        if not _came:
            _end_watch(watcher)
    if _came:
        # taking the modules of the stack apart may take longer than the limit
        atexit._run_exitfuncs()
        _exit(code or 0)
    return code


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event, say: Callable[[str], None] = print):
    """Within the block a first signal sets ``stop``, a second one interrupts.

    Args:
        stop (threading.Event): What is in work is to be completed, and no more.
        say (Callable): Told so in one line.

    Yields:
        list[int]: Signals that have come.
    """
    came = []

    def handle(number, frame):
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        stop.set()
        say(
            'stopping: what is in work is completed, if that takes less than '
            f'{LIMIT:.0f} s; again to stop at once'
        )

    with handled_signals(handle):
        yield came


@contextlib.contextmanager
def handled_signals(handler: Callable = signal.default_int_handler):
    """Handle all signals that end a process, in a block of the main thread.

    Args:
        handler (Callable): As of ``signal.signal``. Defaults to the one that raises
            KeyboardInterrupt.
    """

    def handle(number, frame):
        _came.append(number)
        handler(number, frame)

    before = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def ending_signals() -> list[int]:
    """Signals by which this platform asks a process to end."""
    names = ['SIGINT', 'SIGTERM', 'SIGBREAK']
    # ignored in a process that nohup has started
    hangup = getattr(signal, 'SIGHUP', None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        names.append('SIGHUP')
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _watch(limit):
    """Start the process that keeps the time; it takes 20 ms. None if it cannot."""
    numbers = map(str, map(int, ending_signals()))
    try:
        watcher = subprocess.Popen(
            [sys.executable, '-I', '-S', '-c', _WATCHER, str(os.getpid()), str(limit)]
            + list(numbers),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # out of the reach of Ctrl-C
            start_new_session=True,
            creationflags=getattr(subprocess, 'CREATE_NEW_PROCESS_GROUP', 0),
        )
    except OSError:
        # as where no more processes may be started; signals are handled all the same
        return None
    if hasattr(os, 'set_blocking'):  # on Windows since Python 3.12
        os.set_blocking(watcher.stdin.fileno(), False)
    # written to by the handler in C, which needs no GIL
    signal.set_wakeup_fd(watcher.stdin.fileno(), warn_on_full_buffer=False)
    if hasattr(os, 'register_at_fork'):
        os.register_at_fork(after_in_child=lambda: _forget(watcher))
    threading.Thread(target=_leave, args=(watcher,), daemon=True).start()
    return watcher


def _forget(watcher):
    """In a forked process, whose signals are its own, and which may live longer."""
    if not watcher.stdin.closed:
        signal.set_wakeup_fd(-1)
        watcher.stdin.close()


def _end_watch(watcher):
    """Signals that come later are no longer the tool's."""
    if watcher is None:
        return
    signal.set_wakeup_fd(-1)
    watcher.stdin.close()
    watcher.wait()


def _leave(watcher):
    """Leave when the watcher asks for it."""
    if not watcher.stdout.read(1):
        return
    for child in multiprocessing.active_children():
        child.kill()
    with contextlib.suppress(OSError, ValueError):
        print('interrupted: what was in work is given up', file=sys.stderr)
    _exit(INTERRUPTED)


def _exit(code):
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
