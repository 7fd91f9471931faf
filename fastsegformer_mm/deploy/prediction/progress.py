"""How far a prediction is."""

import time

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from fastsegformer_mm.utils.names import escaped

from .outcome import Outcome


class ProgressDisplay:
    """A bar with rate and remaining time; plain lines where there is no terminal.

    Args:
        total (int, optional): Frames and failures to come. Defaults to None, not
            known.
        console (Console, optional): Defaults to None, the standard error.
        interval (float): Seconds between plain lines. Defaults to 10.
    """

    def __init__(
        self,
        total: int | None = None,
        console: Console | None = None,
        interval: float = 10.0,
    ):
        self.total = total
        # a line of a log file is not to be broken
        self.console = console or Console(stderr=True, soft_wrap=True)
        self.interval = interval
        self._begin = self._last = time.monotonic()
        self._bar = None
        if self.console.is_terminal:
            self._bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn('{task.fields[rate]}'),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task('', total=total, rate='')

    def __enter__(self):
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, *error):
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line of its own."""
        self.console.print(escaped(text), markup=False, highlight=False)

    def __call__(self, outcome: Outcome) -> None:
        """Show how far it is."""
        now = time.monotonic()
        done = outcome.frames + outcome.failed
        if self._bar:
            self._bar.update(self._task, completed=done, rate=self._rate(outcome, now))
        elif now - self._last >= self.interval:
            self._last = now
            self.say(self.line(outcome, now))

    def line(self, outcome: Outcome, now: float) -> str:
        """The plain line."""
        done = outcome.frames + outcome.failed
        text = f'{done}' + (f'/{self.total}' if self.total else '')
        text += f' frames, {self._rate(outcome, now)}'
        if self.total and done:
            left = round((now - self._begin) * max(self.total - done, 0) / done)
            text += f', {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left'
        return text

    def _rate(self, outcome, now):
        seconds = max(now - self._begin, 1e-9)
        text = f'{outcome.frames / seconds:.1f} frames/s'
        if outcome.failed:
            text += f', {outcome.failed} failed'
        if outcome.error is not None:
            text += ', breaking off'
        return text
