"""Each test starts as it would alone, whichever ran before it."""

import signal

import pytest
from mmengine.registry import DefaultScope
from mmengine.runner import set_random_seed

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell starts what runs in the background; tests interrupt themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """Weights, images and augmentations are drawn as in the last run.

    Before the fixtures, which draw as well. Of one draw in hundreds a test may ask
    too much, and a run that fails for another draw says nothing about a change.
    """
    set_random_seed(0)


@pytest.fixture(autouse=True, scope='module')
def no_default_scope():
    """Forget the registry scope that another file's configs have left behind."""
    before = DefaultScope._instance_dict
    DefaultScope._instance_dict = type(before)()
    yield
    DefaultScope._instance_dict = before
