"""MMEngine's own checkpoints load with ``weights_only=True``, others do not."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch.serialization import get_safe_globals

from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.safe_globals import (
    history_buffer_method,
    mmengine_globals,
)


def save(path, **objects):
    torch.save(objects, path)
    with mmengine_globals():
        return torch.load(path, weights_only=True)


def test_message_hub_round_trip(tmp_path):
    hub = MessageHub('test_safe_globals')
    for loss in (3.0, 1.0):
        hub.update_scalar('train/loss', loss)
    hub.update_scalar('train/lr', np.float32(0.5))
    hub.update_info('iter', np.int64(7))
    loaded = save(tmp_path / 'epoch_1.pth', message_hub=hub.state_dict())
    hub = MessageHub('test_safe_globals_loaded')
    hub.load_state_dict(loaded['message_hub'])
    assert hub.get_scalar('train/loss').statistics('min') == 1.0
    assert hub.get_scalar('train/loss').mean() == 2.0
    assert hub.get_info('iter') == 7


@pytest.mark.parametrize(
    'value',
    [np.bool_(True), np.int32(3), np.uint8(4), np.float64(0.5), np.arange(3.0)],
)
def test_numpy_values(tmp_path, value):
    loaded = save(tmp_path / 'a.pth', value=value)['value']
    assert np.array_equal(loaded, value)


def test_getattr_reaches_nothing_but_the_statistics():
    assert history_buffer_method(HistoryBuffer, 'mean') is HistoryBuffer.mean
    for owner, name in (
        (HistoryBuffer, '__init__'),
        (HistoryBuffer, '__globals__'),
        (np, 'load'),
        (HistoryBuffer.mean, '__globals__'),
    ):
        with pytest.raises(ValueError, match='HistoryBuffer'):
            history_buffer_method(owner, name)


class GetAttr:
    """Asks for an attribute by the builtin, as HistoryBuffer's pickle does."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


def test_getattr_in_a_file(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'x': GetAttr(HistoryBuffer, 'mean')}, path)
    assert read_checkpoint(path)['x'] is HistoryBuffer.mean
    torch.save({'x': GetAttr(HistoryBuffer, '__init__')}, path)
    with pytest.raises(ValueError, match=r"asks for '__init__' of .*HistoryBuffer"):
        read_checkpoint(path)


def test_nothing_stays_allowed(tmp_path):
    before = set(get_safe_globals())
    torch.save({'history': HistoryBuffer([1.0], [1])}, tmp_path / 'epoch_1.pth')
    assert read_checkpoint(tmp_path / 'epoch_1.pth')['history'].mean() == 1.0
    assert set(get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'epoch_1.pth', weights_only=True)


def test_what_the_user_allows_stays_allowed(tmp_path):
    torch.save({'history': HistoryBuffer([1.0], [1])}, tmp_path / 'epoch_1.pth')
    with torch.serialization.safe_globals([HistoryBuffer]):
        read_checkpoint(tmp_path / 'epoch_1.pth')
        assert HistoryBuffer in get_safe_globals()
    assert HistoryBuffer not in get_safe_globals()
