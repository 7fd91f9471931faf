"""All begin alike, and steps are measured: seconds, memory, also over a resume."""

import mmap
import runpy
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fastsegformer_mm.distillation.comparison import (
    SameStartHook,
    StepCostHook,
    step_cost_hook,
)
from fastsegformer_mm.utils import peak_memory

case = SimpleNamespace(**runpy.run_path(str(Path(__file__).parent / 'case.py')))
set_up = case.set_up


class Model(torch.nn.Module):
    """Its steps take the seconds that the clock below is told."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.clock, self.seconds = clock, list(seconds)

    def train_step(self, data, optim_wrapper=None):
        self.clock.now += self.seconds.pop(0)
        return data


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0, peak=0, resets=[])
    monkeypatch.setattr(step_cost_hook, 'time', SimpleNamespace(
        process_time=lambda: clock.now))
    monkeypatch.setattr(step_cost_hook.torch, 'get_num_threads', lambda: 1)
    monkeypatch.setattr(step_cost_hook, 'read_peak', lambda device: clock.peak)
    monkeypatch.setattr(
        step_cost_hook, 'reset_peak', lambda device: clock.resets.append(clock.now))
    return clock


def train(hook, model, steps, clock, peaks=None):
    runner = SimpleNamespace(model=model)
    hook.before_train(runner)
    for i in range(steps):
        clock.peak = peaks[i] if peaks else 0
        clock.now += 50.0  # loading of data, evaluation, saving
        assert model.train_step(i, optim_wrapper=None) == i
    hook.after_train(runner)


def test_median_after_the_warm_up(clock):
    hook = StepCostHook(warmup=2)
    assert hook.median is None
    model = Model(clock, [9, 9, 1, 2, 6])
    train(hook, model, 5, clock, peaks=[3, 8, 5, 1, 2])
    assert hook.seconds == [1, 2, 6]
    assert hook.median == 2
    # of all steps, those of the warm-up too
    assert hook.peak_bytes == 8
    # forgotten before each step, when all else has been done
    assert clock.resets == [150, 209, 268, 319, 371]
    assert 'train_step' not in vars(model)


def test_ten_steps_are_not_timed_by_default(clock):
    hook = StepCostHook()
    train(hook, Model(clock, range(12)), 12, clock)
    assert hook.seconds == [10, 11]


def test_measured_before_a_resume(clock):
    first = StepCostHook(warmup=1)
    train(first, Model(clock, [9, 1, 3]), 3, clock, peaks=[7, 7, 7])
    checkpoint = {}
    first.before_save_checkpoint(None, checkpoint)
    assert checkpoint == dict(step_cost=dict(seconds=[1, 3], peak_bytes=7))
    second = StepCostHook(warmup=1)
    second.after_load_checkpoint(None, checkpoint)
    train(second, Model(clock, [9, 5]), 2, clock, peaks=[4, 4])
    # warmed up anew, and what was measured before stays
    assert second.seconds == [1, 3, 5]
    assert second.peak_bytes == 7
    # what was saved does not change with it
    assert checkpoint['step_cost']['seconds'] == [1, 3]
    third = StepCostHook()
    third.after_load_checkpoint(None, {})
    assert third.seconds == []


def test_no_negative_warm_up():
    with pytest.raises(ValueError, match='warmup=-1'):
        StepCostHook(warmup=-1)


def test_peak_is_that_of_the_steps():
    """Memory that was given back before a step does not count."""
    device = torch.device('cpu')
    peak_memory.reset_peak(device)
    before = peak_memory.read_peak(device)
    # not by malloc, which may have as much left of what earlier tests gave back
    with mmap.mmap(-1, 300 * 2**20) as big:
        for page in range(0, len(big), mmap.PAGESIZE):
            big[page] = 1
        high = peak_memory.read_peak(device)
    assert high - before > 200 * 2**20
    assert high - peak_memory.read_peak(device) < 100 * 2**20
    peak_memory.reset_peak(device)
    assert high - peak_memory.read_peak(device) > 200 * 2**20


def test_processor_time_of_a_thread(clock, monkeypatch):
    monkeypatch.setattr(step_cost_hook.torch, 'get_num_threads', lambda: 2)
    hook = StepCostHook(warmup=0)
    train(hook, Model(clock, [3, 5]), 2, clock)
    assert hook.seconds == [1.5, 2.5]


def test_a_real_step_is_timed():
    """By the work that it does, and not by what it waits for."""
    class Busy(Model):
        def train_step(self, data, optim_wrapper=None):
            time.sleep(0.2)
            began = time.process_time()
            while time.process_time() < began + 0.02:
                pass

    hook = StepCostHook(warmup=0)
    model = Busy(None, [])
    runner = SimpleNamespace(model=model)
    hook.before_train(runner)
    for _ in range(3):
        model.train_step(None)
    assert 0.02 <= hook.median < 0.1
    assert hook.peak_bytes > 50 * 2**20


def test_same_start():
    """Whatever was drawn before, and another seed draws others."""
    hook = SameStartHook()
    found = []
    for seed, drawn in ((0, 3), (0, 5), (1, 3)):
        torch.rand(drawn)
        np.random.default_rng()
        hook.before_run(SimpleNamespace(seed=seed))
        found.append(torch.rand(4))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
