"""What is told of measured seconds, and how two are compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np


@dataclass(frozen=True)
class Summary:
    """Of one stage of one combination, over all rounds.

    Attributes:
        runs (int): How many were timed.
        p50 (float): Median, seconds.
        p95 (float): 19 of 20 runs took no longer.
        minimum (float): The fastest.
    """

    runs: int
    p50: float
    p95: float
    minimum: float

    @property
    def frames_per_second(self) -> float:
        """1 / median."""
        return 1 / self.p50


@dataclass(frozen=True)
class Ratio:
    """How many times one is as fast as the other, round by round.

    Attributes:
        times (float): Median over the rounds.
        low (float): Of the worst round.
        high (float): Of the best round.
    """

    times: float
    low: float
    high: float


def summarise(seconds: Sequence[float]) -> Summary:
    """Median, 95th percentile (linear between two runs) and minimum.

    Example:
        >>> summarise([0.03, 0.01, 0.02])
        Summary(runs=3, p50=0.02, p95=0.029, minimum=0.01)
    """
    p50, p95 = np.percentile(seconds, (50, 95)).round(9).tolist()
    return Summary(len(seconds), p50, p95, min(seconds))


def compare(slow: Sequence[Sequence], fast: Sequence[Sequence]) -> Ratio | None:
    """Median of ``slow`` by that of ``fast``, of each round that both have.

    The two halves of a ratio stand close together in time, so that a machine that
    slows down between rounds does not change it.

    Args:
        slow (Sequence[Sequence[float]]): Seconds by round.
        fast (Sequence[Sequence[float]]): Those of the other.

    Returns:
        Ratio | None: None where no round has both.

    Example:
        >>> compare([[4.0, 4.0], [8.0]], [[2.0, 1.0, 2.0], [2.0]])
        Ratio(times=3.0, low=2.0, high=4.0)
    """
    ratios = [median(s) / median(f) for s, f in zip(slow, fast) if s and f]
    if not ratios:
        return None
    return Ratio(median(ratios), min(ratios), max(ratios))
