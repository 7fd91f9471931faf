"""Long commands run one after the other, their output in log files."""

import contextlib
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from .processes import OWN_GROUP, end

# MMEngine's line of progress: Iter(train) [ 50/300], Epoch(train) [2][ 50/300]
PROGRESS = re.compile(r'(?:Iter|Epoch)\(\w+\)\s*(?:\[\d+\])?\s*\[\s*(\d+)/(\d+)\]')
LOSS = re.compile(r'\bloss: (\S+)')
END_OF_LOG = 30


class Steps:
    """Runs commands and shows how far each is, by what it logs.

    In a terminal a step has a live bar with iterations, loss and time left; elsewhere
    a line when it is done. A KeyboardInterrupt ends the command with all processes that
    it has started.

    Args:
        folder (Path): Of the log files, ``N_NAME.log``; it is made.
        total (int): Number of steps.
        console (rich.console.Console, optional): Defaults to None, standard output.

    Example::

        steps = Steps(Path('work_dirs/demo/logs'), total=1)
        seconds = steps.run('train the teacher', 'train_teacher', ['mim', 'train', ...])
    """

    def __init__(self, folder, total, console=None):
        from rich.console import Console

        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.total = total
        # in a pipe a line is not broken
        self.console = console or Console(soft_wrap=not sys.stdout.isatty())
        self.done = 0

    def run(self, title: str, name: str, command) -> float:
        """Run one command.

        Args:
            title (str): What is shown.
            name (str): Of the log file.
            command (Sequence): Program and arguments.

        Returns:
            float: Seconds that it took.

        Raises:
            SystemExit: It has failed; the end of its log is printed.
        """
        self.done += 1
        label = f'[{self.done}/{self.total}] {title}'
        log = self.folder / f'{self.done}_{name}.log'
        begin = time.perf_counter()
        with open(log, 'w', encoding='utf-8') as file, self._bar(label) as show:
            file.write(f'$ {" ".join(map(str, command))}\n')
            code, loss = self._follow(command, file, show)
        seconds = time.perf_counter() - begin
        minutes = f'{int(seconds) // 60}:{int(seconds) % 60:02d}'
        if code:
            end = deque(log.open(encoding='utf-8', errors='replace'), END_OF_LOG)
            self._say(f'{label}: failed after {minutes}; the end of {log}:')
            self._say(''.join(end).rstrip())
            sys.exit(
                f'error: step {self.done} of {self.total}, {title}, failed with exit '
                f'code {code}; all of its output is in {log}'
            )
        last = f', loss {loss}' if loss else ''
        self._say(f'{label}: {minutes}{last} ({log})')
        return seconds

    def _say(self, text):
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _follow(self, command, file, show):
        """Exit code and last loss of a command, whose output goes into a file."""
        loss = ''
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding='utf-8',
            errors='replace',
            **OWN_GROUP,
        )
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                progress = PROGRESS.search(line)
                found = LOSS.search(line)
                loss = found.group(1) if found else loss
                if progress:
                    show(*map(int, progress.groups()), loss)
            return process.wait(), loss
        finally:
            if process.poll() is None:
                end(process)

    @contextlib.contextmanager
    def _bar(self, label):
        """A function that shows iteration, their number and the loss."""
        if not self.console.is_terminal:
            yield lambda *progress: None
            return
        from rich.progress import (
            BarColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn('{task.description}', markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn('{task.fields[state]}', markup=False),
            TimeRemainingColumn(compact=True),
            console=self.console,
            transient=True,
        ) as bar:
            task = bar.add_task(label, total=None, state='')

            def show(iteration, iterations, loss):
                bar.update(
                    task,
                    completed=iteration,
                    total=iterations,
                    state=f'{iteration}/{iterations}{loss and ", loss "}{loss}, left',
                )

            yield show
