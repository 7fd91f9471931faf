"""Each file of tests starts as it would alone, whichever ran before it."""

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True, scope='module')
def no_default_scope():
    """Forget the registry scope that another file's configs have left behind."""
    before = DefaultScope._instance_dict
    DefaultScope._instance_dict = type(before)()
    yield
    DefaultScope._instance_dict = before
