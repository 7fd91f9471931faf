"""Processes that are started and ended as a group, on every platform."""

import contextlib
import os
import signal
import subprocess

# Ctrl-C reaches the one who waits alone, who then ends the others
OWN_GROUP = dict(
    start_new_session=True,
    creationflags=getattr(subprocess, 'CREATE_NEW_PROCESS_GROUP', 0),
)


def end(process: subprocess.Popen, grace: float = 1.0) -> None:
    """End a process and those that it has started.

    Args:
        process (subprocess.Popen): Started with ``OWN_GROUP``.
        grace (float): Seconds between SIGTERM and SIGKILL; Windows has neither.
            Defaults to 1.
    """
    if os.name == 'nt':
        command = ['taskkill', '/F', '/T', '/PID', str(process.pid)]
        subprocess.run(command, capture_output=True)
        process.wait()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(grace)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
