"""read_checkpoint: sound files, and one clear error for each that is not."""

import gzip
import io
import logging
import os
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from fastsegformer_mm.engine.checkpoint import (
    CheckpointError,
    read,
    read_checkpoint,
)
from fastsegformer_mm.engine.checkpoint.contents import LEGACY_MAGIC
from fastsegformer_mm.engine.checkpoint.write import with_checksum

WEIGHTS = {'stem.w': torch.arange(6.0).reshape(2, 3), 'head.b': torch.ones(3)}
CONTENT = dict(meta=dict(epoch=4), state_dict=WEIGHTS)
MIDDLE = np.arange(6, dtype=np.float32).tobytes()
TRUNCATED = r'is truncated: .* stops after [\d,]+ bytes.* copy it again, or take an ear'


def saved(content=CONTENT, **kwargs):
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


def legacy(content=CONTENT):
    return saved(content, _use_new_zipfile_serialization=False)


def flipped(data):
    """One bit of a weight is another."""
    place = data.index(MIDDLE) + 5
    return data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def script():
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(1, 1)), buffer)
    return buffer.getvalue()


def tar(name=b'storages'):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as file:
        file.addfile(tarfile.TarInfo(os.fsdecode(name)))
    return buffer.getvalue()


def tensors(**meta):
    return save_safetensors(WEIGHTS, {'format': 'pt', **meta})


WHOLE_NETWORK = (
    r'is a whole pickled network \(it asks for torch\.nn\.modules\.linear\.Linear.*'
    r"torch\.save\(model\.state_dict\(\), 'weights\.pth'\); .*'unsafe-pickle:///"
)
OTHER_OBJECTS = (
    r'holds other objects than tensors \(it asks for posix\.mkdir\), and loading it '
    r"could run code .* 'unsafe-pickle:///"
)


class Attack:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


NEVER = Attack('/never/there')
WRONG = {
    'empty': (b'', r'is empty \(0 bytes\), as a full disk'),
    'html': (
        b'\n<!DOCTYPE html><html><head><title>\n Sign in</title></head>',
        r"is an HTML page \('Sign in'\), such as a login .*: download the file itself",
    ),
    'html-short': (b'<html>404</html>', 'is an HTML page, such as a login'),
    'lfs': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:a1\nsize 123456\n',
        r'is a Git LFS pointer \(69 bytes\) and not the file of 123,456 bytes itself: '
        'run `git lfs pull`',
    ),
    'json': (b'{"epoch": 3}', r'is a JSON text that begins with "\{.*epoch'),
    'text': ('Zugriff für a'.encode(), r'is a text that begins with "Zugriff für a"'),
    'half': (saved()[:700], TRUNCATED),
    'no-end': (saved()[:-3], TRUNCATED),
    'checksum-cut': (with_checksum(saved())[:-9], 'is (truncated|damaged): '),
    'begins-only': (saved()[:3], r'is of no known kind \(3 bytes .* 50 4b 03\)'),
    'bytes': (b'\x00\x01' * 50, r'is of no known kind \(100 bytes that begin with 00'),
    'crc': (
        flipped(saved()),
        r'is damaged: the CRC of its part archive/data/0 does not match\. Download or',
    ),
    'checksum': (
        flipped(with_checksum(saved())),
        'is damaged: its content does not match the SHA-256 written with it',
    ),
    'legacy-magic': (legacy()[:20], TRUNCATED),
    'legacy-pickle': (legacy()[:220], TRUNCATED),
    'legacy-tensors': (legacy()[:-3], TRUNCATED),
    'object': (saved({'a': NEVER}), OTHER_OBJECTS),
    'legacy-object': (legacy({'a': NEVER}), OTHER_OBJECTS),
    'network': (saved(nn.Linear(1, 1)), WHOLE_NETWORK),
    'legacy-network': (legacy(nn.Linear(1, 1)), WHOLE_NETWORK),
    'network-in-dict': (saved({'model': nn.Linear(1, 1)}), WHOLE_NETWORK),
    'script': (script(), 'is a TorchScript archive, a program and no checkpoint'),
    'zip': (
        archive(**{'a.npy': b'1', 'b.npy': b'2'}),
        r'is a ZIP archive that torch\.save did not write; it holds a\.npy, b\.npy: ',
    ),
    'pickle': (pickle.dumps({'a': 1}), r'is a pickle that torch\.save did not write'),
    'tar': (tar(), 'is a TAR archive, .* only pickle reads that'),
    'tar-magic': (tar(LEGACY_MAGIC), 'is a TAR archive, .* only pickle reads that'),
    'gzip': (gzip.compress(saved()), 'is compressed by gzip: unpack it'),
    'safetensors-cut': (tensors()[:-4], r'is no whole safetensors file \(.*; \d+ byte'),
    'safetensors-head': (tensors()[:60], r'is no whole safetensors file \(.*; 60 byte'),
}


@pytest.mark.parametrize('name', WRONG)
def test_wrong_file(tmp_path, name, allow_list):
    data, told = WRONG[name]
    path = tmp_path / f'{name}.pth'
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(path)
    message = str(error.value)
    assert message.startswith(f"checkpoint '{path}' ")
    assert re.search(told, message), message
    assert '\n' not in message


@pytest.mark.parametrize('place', [0.05, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize('made', [saved, legacy, tensors])
def test_truncated_anywhere(tmp_path, made, place, allow_list):
    data = made()
    path = tmp_path / 'a.pth'
    path.write_bytes(data[: int(place * len(data))])
    with pytest.raises(CheckpointError, match=r'truncated'):
        read_checkpoint(path)


def test_absent_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth' does not exist: give th"):
        read_checkpoint(tmp_path / 'none.pth')
    with pytest.raises(CheckpointError, match=r"none\.pth' does not exist"):
        read_checkpoint(f'unsafe-pickle://{tmp_path}/none.pth')
    (tmp_path / 'epoch_3.pth').touch()
    with pytest.raises(CheckpointError, match=r'is a folder: name .* as epoch_3\.pth'):
        read_checkpoint(tmp_path)


def test_what_the_system_forbids(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    path.write_bytes(saved())
    opened = type(path).open

    def refuse(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, 'Permission denied')
        return opened(self, *args, **kwargs)

    monkeypatch.setattr(type(path), 'open', refuse)
    with pytest.raises(CheckpointError, match=r'cannot be read \(.*Permission denied'):
        read_checkpoint(path)


def same(content):
    return content['meta']['epoch'] == 4 and all(
        torch.equal(content['state_dict'][k], v) for k, v in WEIGHTS.items()
    )


@pytest.mark.parametrize(
    'data',
    [saved(), legacy(), with_checksum(saved()), tensors(epoch='4')],
    ids=['zip', 'legacy', 'checksum', 'safetensors'],
)
def test_sound_files(tmp_path, data, monkeypatch, allow_list):
    """Whatever they are called, wherever they lie."""
    path = tmp_path / 'a.bin'
    path.write_bytes(data)
    assert same(read_checkpoint(path))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert same(read_checkpoint('~/a.bin'))
    weights = read_checkpoint(path, map_location='meta')['state_dict']
    assert all(v.is_meta for v in weights.values())
    places = (None, torch.device('cpu'), lambda storage, _: storage, {'cpu': 'cpu'})
    for place in places:
        assert same(read_checkpoint(path, map_location=place))


def test_unsafe_pickle_by_name_only(tmp_path, monkeypatch, allow_list):
    logged = []
    monkeypatch.setattr(read, 'print_log', lambda *args: logged.append(args))
    for name, made in (('zip', saved), ('legacy', legacy)):
        path = tmp_path / f'{name}.pth'
        ran = tmp_path / f'{name} ran'
        path.write_bytes(made(dict(CONTENT, x=Attack(ran))))
        monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
        with pytest.raises(CheckpointError, match=r'posix\.mkdir'):
            read_checkpoint(path)
        assert not ran.exists()
        assert same(read_checkpoint(f'unsafe-pickle://{path}'))
        assert ran.is_dir()
        text, _, level = logged.pop()
        assert logged == []
        assert text == (
            f'unsafe-pickle:// was asked for: {path} is loaded with pickle, which runs '
            'whatever code the file holds'
        )
        assert level == logging.WARNING


@pytest.mark.parametrize('name', ['html', 'half', 'checksum', 'script', 'empty'])
def test_unsafe_pickle_refuses_what_is_no_checkpoint(tmp_path, name):
    path = tmp_path / 'a.pth'
    path.write_bytes(WRONG[name][0])
    with pytest.raises(CheckpointError, match=WRONG[name][1]):
        read_checkpoint(f'unsafe-pickle://{path}')


def test_content_is_given_as_it_is(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(saved({'model': {'w': torch.arange(3)}, 'epoch': 4}))
    content = read_checkpoint(path)
    assert content['epoch'] == 4
    assert content['model']['w'].tolist() == [0, 1, 2]
