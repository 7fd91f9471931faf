"""Optimizer wrappers that accumulate gradients, and batches that have none."""

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner


def optim_wrappers(runner: Runner) -> list[OptimWrapper]:
    """Those that take steps, one for most models."""
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, OptimWrapperDict):
        return list(wrapper.values())
    return [wrapper]


def leave_out(wrapper: OptimWrapper, count: int, counted: bool = False) -> None:
    """Tell a wrapper that accumulates gradients of iterations without one.

    The next batch takes the place of the one left out, so that a step still is of
    ``accumulative_counts`` batches and DDP averages all of them. What shrinks is the
    number of batches to expect, on which the last step depends.

    Args:
        wrapper (OptimWrapper): Of which MMEngine lets nothing be set later on.
        count (int): How many.
        counted (bool): Whether it has counted them as done.
    """
    if not count or wrapper._accumulative_counts == 1 or wrapper._max_counts < 0:
        return
    wrapper._max_counts -= count
    wrapper._remainder_counts = wrapper._max_counts % wrapper._accumulative_counts
    if counted:
        wrapper._inner_count -= count
