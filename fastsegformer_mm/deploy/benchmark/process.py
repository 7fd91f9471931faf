"""A worker's process as the parent sees it."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil

from fastsegformer_cli import processes

from ..errors import DeployError

WORKER = 'fastsegformer_mm.deploy.benchmark.worker'
# what libraries print goes into the log, replies into a pipe of their own, whose number
# the worker is told
START = (
    'import os, runpy, sys; replies = os.dup(1); os.dup2(2, 1); '
    'name, sys.argv[1:] = sys.argv[1], [str(replies)]; '
    "runpy.run_module(name, run_name='__main__', alter_sys=True)"
)
# a process that takes less of a core than this is at rest
AT_REST = 0.05


class Process:
    """Starts a worker, asks it, ends it.

    Args:
        log (str | Path): File for what the worker and its libraries print.
        threads (int): Of OpenMP.
        timeout (float): Seconds that an answer may take.
    """

    def __init__(self, log, threads: int, timeout: float):
        self.log = Path(log)
        self.timeout = timeout
        with open(self.log, 'wb') as file:
            self._popen = subprocess.Popen(
                [sys.executable, '-c', START, WORKER],
                env=environment_of(threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                **processes.OWN_GROUP,
            )
        self._replies = queue.Queue()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        """Read replies; Windows cannot wait for a pipe and a time."""
        with self._popen.stdout as pipe:
            for line in pipe:
                self._replies.put(line)
        self._replies.put(b'')

    def ask(self, do: str, **arguments) -> dict:
        """Let it work, and wait for what it answers.

        Raises:
            DeployError: It could not, took too long, or has died.
        """
        request = json.dumps({'do': do, **arguments}) + '\n'
        try:
            self._popen.stdin.write(request.encode())
            self._popen.stdin.flush()
            line = self._read_line()
        except BrokenPipeError:
            line = b''
        if not line.endswith(b'\n'):
            raise DeployError(self._reason_of_death())
        reply = json.loads(line)
        if 'error' in reply:
            raise DeployError(reply['error'])
        return reply

    def _read_line(self):
        end = time.monotonic() + self.timeout
        while time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                # in short waits: on Windows Ctrl-C interrupts none
                return self._replies.get(timeout=min(0.2, self.timeout))
        self.stop()
        raise DeployError(f'no answer in {self.timeout:g} s; allow more with --timeout')

    def _reason_of_death(self):
        code = self._popen.wait()
        if code < 0:
            reason = f'its process was ended by signal {-code}'
            if code == -9:  # SIGKILL, which Windows has no name for
                reason += ', most often for lack of memory'
            return reason
        text = self.log.read_text(encoding='locale', errors='replace').strip()
        last = text.splitlines()[-1].strip() if text else ''
        return f'its process ended with exit code {code}: {last}'

    def cpu_seconds(self) -> float:
        """Time that its threads have computed, those that have ended among them.

        Returns:
            float: To a hundredth of a second; 0.0 of a process that has ended.
        """
        with contextlib.suppress(psutil.Error):
            times = psutil.Process(self._popen.pid).cpu_times()
            return times.user + times.system
        return 0.0

    def _living_seconds(self):
        """Time that the threads it has now have computed, to a nanosecond."""
        total = 0
        for path in Path(f'/proc/{self._popen.pid}/task').glob('*/schedstat'):
            # a thread may end meanwhile
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int(path.read_text(encoding='utf-8').split()[0])
        return total / 1e9

    def rest(self, window: float = 0.05, limit: float = 5.0) -> bool:
        """Wait until its threads have stopped spinning.

        Args:
            window (float): Seconds that it is watched for.
            limit (float): After so many it is let be.

        Returns:
            bool: Whether it is at rest.
        """
        end = time.monotonic() + limit
        while True:
            before, start = self._living_seconds(), time.monotonic()
            time.sleep(window)
            share = (self._living_seconds() - before) / (time.monotonic() - start)
            # on a busy machine one that wants to run may not have been let
            if share < AT_REST and not self._wants_to_run():
                return True
            if time.monotonic() > end:
                return False

    def _wants_to_run(self):
        """Whether a thread runs or waits for a core; False where /proc lacks."""
        for path in Path(f'/proc/{self._popen.pid}/task').glob('*/stat'):
            with contextlib.suppress(OSError, IndexError):
                if self._stat(path)[0] == 'R':
                    return True
        return False

    @staticmethod
    def _stat(path):
        """Fields after the program's name, which, in brackets, may be anything."""
        return path.read_text(encoding='utf-8').rpartition(')')[2].split()

    def stop(self) -> None:
        """End it, and what it has started."""
        processes.end(self._popen)
        with contextlib.suppress(OSError):
            self._popen.stdin.close()


def environment_of(threads: int) -> dict[str, str]:
    """Variables of a worker: those of this process, with its number of threads.

    Whether pools of threads spin while they wait stays as the environment has it, since
    eager PyTorch is slower where they do not. :meth:`Process.rest` waits for them.
    """
    return dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
