"""MMEngine's own checkpoints load with ``weights_only=True``, others do not."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from fastsegformer_mm.engine.safe_globals import (
    allow_mmengine_checkpoints,
    history_buffer_method,
)
from fastsegformer_mm.models.backbones.official_checkpoint import read_weights


@pytest.fixture(autouse=True)
def allowed():
    """Earlier tests may have loaded with OneDL's MMEngine, see the last test."""
    allow_mmengine_checkpoints()


def save(path, **objects):
    torch.save(objects, path)
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


class Attack:
    """Runs a function of ``os`` when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (self.path,)


def test_other_objects_are_refused(tmp_path):
    target = tmp_path / 'reached'
    torch.save({'x': Attack(str(target))}, tmp_path / 'bad.pth')
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'bad.pth', weights_only=True)
    assert not target.exists()


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


def test_read_weights_after_a_load_of_onedl(tmp_path):
    """OneDL allows names for each load alone, and takes ours away with its own."""
    torch.save({'history': HistoryBuffer([1.0], [1])}, tmp_path / 'epoch_1.pth')
    with torch.serialization.safe_globals([HistoryBuffer, np.ndarray, np.dtype]):
        pass
    assert read_weights(tmp_path / 'epoch_1.pth')['history'].mean() == 1.0
