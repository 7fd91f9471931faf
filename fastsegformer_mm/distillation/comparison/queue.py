"""Runs are started one after the other, or some side by side."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastsegformer_cli import processes

from .results import LOG, RESULT, Run

WORKER = 'fastsegformer_mm.distillation.comparison.worker'


@dataclass
class Outcome:
    """What has become of the runs.

    Attributes:
        done (list[Run]): Complete now.
        failed (dict[str, str]): By a run's name, the reason.
        left (list[Run]): Not started, or not finished.
        interrupted (bool): By Ctrl-C or a signal.
    """

    done: list = field(default_factory=list)
    failed: dict = field(default_factory=dict)
    left: list = field(default_factory=list)
    interrupted: bool = False

    def add(self, other: 'Outcome') -> None:
        """Take in what has become of further runs."""
        self.done += other.done
        self.failed |= other.failed
        self.left += other.left
        self.interrupted |= other.interrupted


class Process:
    """The process of a run; its output goes into ``log.txt``.

    Args:
        run (Run): One that was prepared.
        threads (int): Of PyTorch.
    """

    def __init__(self, run: Run, threads: int):
        environment = dict(
            os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads)
        )
        # a pool of threads that waits must not spin beside the other process
        environment.setdefault('OMP_WAIT_POLICY', 'passive')
        with open(run.folder / LOG, 'ab') as log:
            self._popen = subprocess.Popen(
                [sys.executable, '-m', WORKER, str(run.folder)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                **processes.OWN_GROUP,
            )

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._popen.poll()

    def stop(self) -> None:
        """End it and the processes that load its data."""
        processes.end(self._popen)


def work_off(
    runs: Sequence[Run],
    jobs: int,
    threads: int,
    deadline: float | None = None,
    say: Callable = print,
    start: Callable = Process,
) -> Outcome:
    """Run all, ``jobs`` at a time; what fails does not stop the others.

    Args:
        runs (Sequence[Run]): Those that are not complete, in the order to start in.
        jobs (int): How many processes at a time.
        threads (int): Of PyTorch, in each.
        deadline (float, optional): A time of ``time.monotonic()`` after which none
            is started; those that run are waited for.
        say (Callable): Told in one line what happens.
        start (Callable): Makes the process of a run.

    Returns:
        Outcome: After Ctrl-C too: the processes are ended then, and their runs can
        be resumed.
    """
    waiting, running, outcome = list(runs), {}, Outcome()
    number = 0
    try:
        while waiting or running:
            if deadline is not None and time.monotonic() >= deadline and waiting:
                outcome.left += waiting
                say(f'the time is up: {len(waiting)} runs are not started')
                waiting = []
            while waiting and len(running) < jobs:
                run = waiting.pop(0)
                number += 1
                going_on = run.state() == 'begun'
                run.prepare(threads=threads, side_by_side=jobs > 1)
                running[run.name] = run, start(run, threads), time.monotonic()
                say(
                    f'[{number}/{len(runs)}] {run.name} '
                    + ('goes on' if going_on else 'starts')
                )
            for name, (run, process, began) in list(running.items()):
                code = process.poll()
                if code is None:
                    continue
                del running[name]
                result = run.result() if code == 0 else None
                if result is None:
                    outcome.failed[name] = explain(run, code)
                    say(f'{name} FAILED: {outcome.failed[name]}')
                    continue
                outcome.done.append(run)
                say(
                    f'{name}: mIoU {result["metrics"]["mIoU"]:.2f}, '
                    f'{time.monotonic() - began:.0f} s'
                )
            if running:
                time.sleep(0.1)
    except KeyboardInterrupt:
        outcome.interrupted = True
        outcome.left += [run for run, *_ in running.values()] + waiting
    finally:
        for _, process, _ in running.values():
            process.stop()
    return outcome


def explain(run: Run, code: int) -> str:
    """Why a run's process ended: its last line, and where the others are."""
    path = run.folder / LOG
    # what libraries print is in the encoding of the system's language
    text = path.read_text('locale', 'replace') if path.is_file() else ''
    lines = text.split('\n')
    last = next((line.strip() for line in reversed(lines) if line.strip()), '')
    if code < 0:
        reason = f'ended by signal {-code}'
        if code == -9:  # SIGKILL, which Windows has no name for
            reason += ', most often for lack of memory'
    elif code == 0:
        reason = f'ended without {RESULT}'
    else:
        reason = last or f'exit code {code}'
    return f'{reason}; see {path}'
