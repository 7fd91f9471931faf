"""MMEngine's own checkpoints load without running code, others do not."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from fastsegformer_mm.engine.checkpoint import CheckpointError, read_checkpoint
from fastsegformer_mm.engine.checkpoint.safe_globals import (
    TORCH_HAS_ALLOW_LIST,
    history_buffer_method,
)

needs_allow_list = pytest.mark.skipif(
    not TORCH_HAS_ALLOW_LIST, reason='torch has no allow-list of its own before 2.6'
)


def save(path, **objects):
    torch.save(objects, path)
    return read_checkpoint(path)


def test_message_hub_round_trip(tmp_path, allow_list):
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
    [
        *(np.bool_(True), np.int32(3), np.uint8(4), np.float64(0.5), np.arange(3.0)),
        *(np.complex64(1j), np.arange(6, dtype='>i2').reshape(2, 3).T),
    ],
)
def test_numpy_values(tmp_path, value, allow_list):
    loaded = save(tmp_path / 'a.pth', value=value)['value']
    assert np.array_equal(loaded, value)
    assert loaded.dtype == value.dtype.newbyteorder('=')


@pytest.mark.parametrize(
    'value',
    [np.array(['a']), np.array([None]), np.zeros(2, 'f4,i4'), np.str_('a')],
)
def test_other_numpy_values(tmp_path, value, allow_list):
    with pytest.raises(CheckpointError, match='asks for NumPy values of type'):
        save(tmp_path / 'a.pth', value=value)


def test_another_class_of_arrays(tmp_path, allow_list):
    with pytest.raises(CheckpointError, match=r'asks for .*MaskedArray|_mareconstruct'):
        save(tmp_path / 'a.pth', value=np.ma.masked_array([1.0], [True]))


def test_all_that_torch_saves(tmp_path, allow_list):
    value = dict(
        parameter=torch.nn.Parameter(torch.arange(3.0)),
        sparse=torch.eye(2).to_sparse(),
        half=torch.ones(2, dtype=torch.bfloat16),
        flags=torch.tensor([True, False]),
        quantized=torch.quantize_per_tensor(torch.ones(2), 0.5, 0, torch.qint8),
        strided=torch.arange(6).reshape(2, 3).T,
        plain=[1, 2.5, None, True, 'ä', b'\xff', (1, 2), {3}, 10**30, 1 + 2j],
        kinds=[torch.float16, torch.device('cpu'), torch.Size([1, 2])],
    )
    shared = torch.zeros(4)
    value.update(first=shared[:2], second=shared[1:])
    for options in ({}, dict(_use_new_zipfile_serialization=False)):
        torch.save(value, tmp_path / 'a.pth', **options)
        found = read_checkpoint(tmp_path / 'a.pth')
        assert list(found) == list(value)
        assert isinstance(found['parameter'], torch.nn.Parameter)
        assert found['plain'] == value['plain']
        assert found['kinds'] == value['kinds']
        for name in ('parameter', 'half', 'flags', 'strided'):
            assert torch.equal(found[name], value[name])
        assert torch.equal(found['sparse'].to_dense(), torch.eye(2))
        assert torch.equal(found['quantized'].dequantize(), torch.ones(2))
        found['first'][1] = 7
        assert found['second'].tolist() == [7, 0, 0]


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


def test_getattr_in_a_file(tmp_path, allow_list):
    path = tmp_path / 'a.pth'
    torch.save({'x': GetAttr(HistoryBuffer, 'mean')}, path)
    assert read_checkpoint(path)['x'] is HistoryBuffer.mean
    torch.save({'x': GetAttr(HistoryBuffer, '__init__')}, path)
    with pytest.raises(ValueError, match=r"asks for '__init__' of .*HistoryBuffer"):
        read_checkpoint(path)


@needs_allow_list
def test_nothing_stays_allowed(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({'history': HistoryBuffer([1.0], [1])}, tmp_path / 'epoch_1.pth')
    assert read_checkpoint(tmp_path / 'epoch_1.pth')['history'].mean() == 1.0
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'epoch_1.pth', weights_only=True)


@needs_allow_list
def test_what_the_user_allows_stays_allowed(tmp_path):
    torch.save({'history': HistoryBuffer([1.0], [1])}, tmp_path / 'epoch_1.pth')
    with torch.serialization.safe_globals([HistoryBuffer]):
        read_checkpoint(tmp_path / 'epoch_1.pth')
        assert HistoryBuffer in torch.serialization.get_safe_globals()
    assert HistoryBuffer not in torch.serialization.get_safe_globals()
