"""Seconds and memory of a training step, measured in the training itself."""

import itertools
import statistics
import time

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.utils.peak_memory import read_peak, reset_peak

KEY = 'step_cost'


@HOOKS.register_module()
class StepCostHook(Hook):
    """Measure the seconds and the peak of memory of the training steps.

    A step is the model's ``train_step``, forward and backward pass and the weights'
    update: loading of data, evaluation and saving are not in it. What was measured is
    in each checkpoint, so that a resumed training knows of it.

    On a CPU seconds are processor time divided by the number of threads, which other
    programs on the machine lengthen little: by the clock, methods that run at
    different hours of a busy machine do not compare. The peak is that of the process
    (Linux: in the steps alone). On a GPU seconds are those of the clock, and the peak
    is that of PyTorch's tensors.

    Args:
        warmup (int): Steps that are not timed, at the beginning and after each
            resume. Defaults to 10.

    Example:
        >>> custom_hooks = [dict(type='StepCostHook', warmup=10)]
    """

    def __init__(self, warmup: int = 10) -> None:
        if warmup < 0:
            raise ValueError(f'warmup={warmup}: expected no negative number')
        self.warmup = warmup
        self.seconds: list[float] = []
        self.peak_bytes = 0

    @property
    def median(self) -> float | None:
        """Seconds a step; None if no step was timed."""
        return statistics.median(self.seconds) if self.seconds else None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take up what was measured before the interruption."""
        found = checkpoint.get(KEY)
        if found:
            self.seconds = list(found['seconds'])
            self.peak_bytes = found['peak_bytes']

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what was measured."""
        checkpoint[KEY] = dict(seconds=list(self.seconds), peak_bytes=self.peak_bytes)

    def before_train(self, runner: Runner) -> None:
        """Put the clock around the step."""
        model = runner.model
        device = next(model.parameters()).device
        step = model.train_step
        passed = itertools.count(1)

        def measured(*args, **kwargs):
            reset_peak(device)
            began = _now(device)
            out = step(*args, **kwargs)
            seconds = _now(device) - began
            self.peak_bytes = max(self.peak_bytes, read_peak(device))
            if next(passed) > self.warmup:
                self.seconds.append(seconds)
            return out

        model.train_step = measured

    def after_train(self, runner: Runner) -> None:
        """Take the clock away."""
        runner.model.__dict__.pop('train_step')


def _now(device):
    if device.type != 'cpu':
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time() / torch.get_num_threads()
