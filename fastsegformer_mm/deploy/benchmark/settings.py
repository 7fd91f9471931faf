"""How is measured."""

from dataclasses import dataclass, field

from ..errors import DeployError

MIN_WARMUPS = 50


@dataclass
class Settings:
    """How is measured.

    Args:
        threads (int): Of each runtime.
        warmups (int): Runs of each stage before the first that is timed. Defaults to
            50, the least unless ``trial``.
        runs (int): Timed runs of each stage in a round. Defaults to 20.
        rounds (int): Turns of each combination. Defaults to 5.
        device (str): 'cpu' or 'cuda:N'.
        evaluate (bool): Measure mIoU on the configs' test sets after the last round.
        one_model_at_a_time (bool): Processes of one network only are alive at once,
            for little memory.
        timeout (float): Seconds that a process may take for one answer.
        trial (bool): Fewer warm-ups are allowed, and every table says so.
        cfg_options (dict): Settings to override in the configs.
        streams (list[int]): Frames that runtimes which can have side by side, each
            number in a combination of its own. Defaults to none.

    Raises:
        DeployError: A number is too small.
    """

    threads: int
    warmups: int = MIN_WARMUPS
    runs: int = 20
    rounds: int = 5
    device: str = 'cpu'
    evaluate: bool = False
    one_model_at_a_time: bool = False
    timeout: float = 900.0
    trial: bool = False
    cfg_options: dict = field(default_factory=dict)
    streams: list[int] = field(default_factory=list)

    def __post_init__(self):
        if self.warmups < MIN_WARMUPS and not self.trial:
            raise DeployError(
                f'--warmups {self.warmups}: expected at least {MIN_WARMUPS}, without '
                'which figures of a runtime that still tunes itself are taken; to try '
                'the command out add --trial'
            )
        for name in ('threads', 'runs', 'rounds'):
            if getattr(self, name) < 1:
                raise DeployError(
                    f'--{name} {getattr(self, name)}: expected at least 1'
                )
        for streams in self.streams:
            if not 1 <= streams <= self.threads:
                raise DeployError(
                    f'--streams {streams} with --threads {self.threads}: expected at '
                    'least 1, and at most one a thread'
                )

    @property
    def warmups_again(self) -> int:
        """Warm-ups of later rounds: the others have emptied the caches since."""
        return max(3, self.warmups // 10)
