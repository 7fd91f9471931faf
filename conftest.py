"""Each file of tests starts as it would alone, whichever ran before it."""

import signal

import pytest
from mmengine.registry import DefaultScope

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # as a shell starts what runs in the background; tests interrupt themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope='module')
def no_default_scope():
    """Forget the registry scope that another file's configs have left behind."""
    before = DefaultScope._instance_dict
    DefaultScope._instance_dict = type(before)()
    yield
    DefaultScope._instance_dict = before
