"""Crafted pickles against the restricted unpickler, which old versions of torch need.

``known`` starts a pickle that has one of the allowed objects on its stack.
"""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from fastsegformer_mm.engine.checkpoint import (
    CheckpointError,
    read_checkpoint,
    safe_globals,
    unpickler,
)

BUFFER = b'cmmengine.logging.history_buffer\nHistoryBuffer\n'
MEAN = b'cbuiltins\ngetattr\n' + BUFFER + b'X\x04\0\0\0mean\x86R'
NUMBER = b'cnumpy\ndtype\nX\x02\0\0\0f8\x89\x89\x87R'
ARRAY = b'cnumpy\nndarray\nK\x01\x85R'


def text(value):
    data = value.encode()
    return b'X' + len(data).to_bytes(4, 'little') + data


def state(number):
    """Of a NumPy type: (3, '<', None, None, None, -1, -1, number)."""
    minus = b'J\xff\xff\xff\xff'
    return b'(K\x03' + text('<') + b'NNN' + minus * 2 + b'K' + bytes([number]) + b't'


# each is an end of a pickle of protocol 2, with what is said of it
CRAFTED = {
    'a function': (b'cos\nsystem\nX\x01\0\0\0a\x85R', r'asks for os\.system'),
    'a function of Python 2': (b'c__builtin__\neval\n)R', r'asks for builtins\.eval'),
    'a class with code': (
        b'ctorch.nn.modules.linear\nLinear\n)\x81',
        r'asks for torch\.nn\.mod',
    ),
    'torch.load itself': (
        b'ctorch.storage\n_load_from_bytes\n)R',
        r'asks for torch\.storage\._load_from',
    ),
    'an attribute of an allowed one': (
        BUFFER.replace(b'HistoryBuffer', b'HistoryBuffer.mean'),
        'HistoryBuffer.mean',
    ),
    'a call of what a call gave': (MEAN + b')R', 'asks for a call or change of <funct'),
    'a new object of one': (MEAN + b')\x81', 'asks for a call or change of <function'),
    'a change of a class': (
        BUFFER + b'}' + text('mean') + b'Nsb',
        "call or change of <class 'type'>",
    ),
    'a change of a function': (
        b'ctorch._utils\n_rebuild_tensor\n}b',
        "call or change of <class 'function'>",
    ),
    'slots of an object': (
        BUFFER + b')\x81N}' + text('_log_history') + b'Ns\x86b',
        'cannot convert|cannot',
    ),
    'items of an object': (
        BUFFER + b')\x81' + text('a') + b'Ns',
        'asks for a change of .* as if it were',
    ),
    'many items of an object': (
        BUFFER + b')\x81(' + text('a') + b'Nu',
        'asks for a change of .* as if it were',
    ),
    'an item of an array': (ARRAY + b'Na', 'asks for a change of .* as if it were'),
    'items of an array': (ARRAY + b'(Ne', 'asks for a change of .* as if it were'),
    'flags of a NumPy type': (NUMBER + state(63) + b'b', 'a NumPy type with state'),
    'objects as numbers': (
        ARRAY + b'(K\x01K\x01\x85NN]tb',
        'asks for an array of None',
    ),
    'another persistent object': (
        b'(' + text('module') + BUFFER + text('a') + text('b') + b'tQ',
        "asks for the persistent object .'module'",
    ),
    'a persistent text': (text('storage') + b'Q', "the persistent object 'storage'"),
    'PERSID': (b'Pstorage\n', 'asks for instruction 80 of pickle'),
    'INST': (b'(ios\nsystem\n', 'asks for instruction 105 of pickle'),
    'OBJ': (b'(' + MEAN + b'o', 'asks for instruction 111 of pickle'),
    'STACK_GLOBAL': (
        text('os') + text('system') + b'\x93',
        'asks for instruction 147 of pickle',
    ),
    'NEWOBJ_EX': (MEAN + b')}\x92', 'asks for instruction 146 of pickle'),
    'EXT1': (b'\x82\x01', 'asks for instruction 130 of pickle'),
}


def archive(path, data):
    """What torch.save writes, with another pickle in it."""
    writer = torch._C.PyTorchFileWriter(str(path))
    writer.write_record('data.pkl', data, len(data))
    writer.write_record('version', b'3\n', 2)
    writer.write_end_of_file()


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(safe_globals, 'TORCH_HAS_ALLOW_LIST', False)


@pytest.mark.parametrize('name', CRAFTED)
def test_crafted(tmp_path, own, name):
    data, told = CRAFTED[name]
    path = tmp_path / 'a.pth'
    archive(path, b'\x80\x02' + data + b'.')
    with pytest.raises(CheckpointError, match=told):
        read_checkpoint(path)
    assert HistoryBuffer([1.0], [1]).mean() == 1.0


def test_they_would_do_it(tmp_path):
    """A pickle made in the same way that asks for nothing else."""
    path = tmp_path / 'a.pth'
    archive(path, b'\x80\x02' + MEAN + b'.')
    assert read_checkpoint(path) is HistoryBuffer.mean
    archive(path, b'\x80\x02cos\ngetcwd\n)R.')
    assert read_checkpoint(f'unsafe-pickle://{path}') == os.getcwd()


def test_numbers_of_the_process_stay_as_they_are(tmp_path, own):
    """Not even the byte order of float64 itself can be set."""
    path = tmp_path / 'a.pth'
    swapped = state(0).replace(b'<', b'>')
    archive(path, b'\x80\x02' + NUMBER + swapped + b'b.')
    assert read_checkpoint(path) == np.dtype('>f8')
    assert np.dtype('f8').isnative


def test_no_file_is_written_for_a_module_of_an_old_file(tmp_path, own, monkeypatch):
    """torch.load compares the source of pickled modules, and may write a patch."""
    path = tmp_path / 'a.pth'
    torch.save(torch.ones(1), path, _use_new_zipfile_serialization=False)
    head = path.read_bytes()
    # magic number, version, system, then the content
    start = 0
    for _ in range(3):
        start = head.index(b'.', start) + 1
    module = b'(' + text('module') + BUFFER + text('a.py') + text('source') + b'tQ'
    path.write_bytes(head[:start] + b'\x80\x02' + module + b'.\x80\x02].')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=r"the persistent object .'module'"):
        read_checkpoint(path)
    assert os.listdir(tmp_path) == ['a.pth']


def test_programs(tmp_path):
    """Whatever Python's reader of archives sees in them."""
    path = tmp_path / 'a.pth'
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    error = pytest.raises(pickle.UnpicklingError, match='program')
    with path.open('rb') as file, error:
        unpickler.refuse_programs(file)
    torch.save({}, path)
    with path.open('rb') as file:
        unpickler.refuse_programs(file)
        assert zipfile.is_zipfile(file)
        file.seek(0)
        assert file.read(2) == b'PK'
