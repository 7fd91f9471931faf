"""Each test starts as it would alone, whichever ran before it."""

import functools
import signal

import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed
from mmengine.visualization import Visualizer

import fastsegformer_mm  # noqa: F401  with mmcv-lite it comes before mmseg

# what MMEngine keeps of each run for the rest of the process
MANAGERS = (DefaultScope, MessageHub, MMLogger, Visualizer)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell starts what runs in the background; tests interrupt themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Weights, images and augmentations are drawn as in the last run.

    Before the fixtures, which draw as well. Of one draw in hundreds a test may ask
    too much, and a run that fails for another draw says nothing about a change.
    """
    if item.get_closest_marker('cpu_float16') and not cpu_has_float16():
        pytest.skip('no autocast to float16 on the CPU in this torch')
    set_random_seed(0)


@functools.cache
def cpu_has_float16():
    """Whether networks are trained in float16 on the CPU; since torch 2.3."""
    try:
        with torch.autocast('cpu', torch.float16):
            return torch.is_autocast_cpu_enabled()
    except RuntimeError:
        return False


@pytest.fixture(autouse=True, scope='module')
def no_runs_left_behind():
    """Forget the registry scope, loggers and so on of another file's runs.

    The file that such a logger writes may be closed: uvicorn, which serves the page,
    closes those of the whole process.
    """
    before = [manager._instance_dict for manager in MANAGERS]
    for manager, instances in zip(MANAGERS, before):
        manager._instance_dict = type(instances)()
    yield
    for manager, instances in zip(MANAGERS, before):
        manager._instance_dict = instances
