"""What has become of a prediction."""

from dataclasses import dataclass, field

from ..errors import DeployError
from .input_error import InputError

# kept in memory; all are in the file
MOST_FAILURES = 50
# failures in a row that may be the machine's or the model's fault
MOST_DOUBTFUL = 5


@dataclass
class Outcome:
    """What has become of a prediction.

    Attributes:
        frames (int): Frames in the records, those of earlier runs not counted.
        skipped (int): Files that an earlier run had done.
        failed (int): Files, folders and streams that the run went on without.
        failures (list[tuple[str, str]]): The first of them, with the reasons.
        remarks (list[tuple[str, str]]): Files of which something is not as asked for,
            the first of them, and what.
        dropped (int): Frames of a live stream that newer ones have replaced.
        interrupted (bool): By Ctrl-C or a signal.
        error (BaseException): What ended the run, None where nothing did.
        seconds (float): From the first file to the last.
        stages (dict[str, float]): Seconds of each stage, all frames together.
        waiting (dict[str, int]): Most items that have waited for 'network' and
            'writing'.
        streams (int): Frames that the network has had side by side.
    """

    frames: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list = field(default_factory=list)
    remarks: list = field(default_factory=list)
    dropped: int = 0
    interrupted: bool = False
    error: BaseException | None = None
    seconds: float = 0.0
    stages: dict = field(default_factory=dict)
    waiting: dict = field(default_factory=dict)
    streams: int = 1
    _doubtful: int = 0

    def means(self) -> dict[str, float]:
        """Seconds of each stage a frame."""
        return {k: v / self.frames for k, v in self.stages.items() if self.frames}

    def add(self, origin: str, seconds: dict[str, float], remark: str | None) -> None:
        """Count a frame that was written.

        Args:
            origin (str): Name of its file or stream in the records.
            seconds (dict[str, float]): Of its stages.
            remark (str, optional): What is not as it was asked for.
        """
        self.frames += 1
        self._doubtful = 0
        for stage, spent in seconds.items():
            self.stages[stage] = self.stages.get(stage, 0.0) + spent
        if remark and len(self.remarks) < MOST_FAILURES:
            self.remarks.append((origin, remark))

    def fail(self, error: InputError) -> None:
        """Count an input that the run goes on without.

        Args:
            error (InputError): Why.

        Raises:
            DeployError: So many in a row have failed for reasons that need not be
                theirs that the next would fail as well.
        """
        self.failed += 1
        if self.failed <= MOST_FAILURES:
            self.failures.append((error.origin, error.reason))
        self._doubtful += error.doubtful
        if self._doubtful == MOST_DOUBTFUL:
            raise DeployError(
                f'{MOST_DOUBTFUL} inputs in a row failed, the last of them {error}'
            ) from error
