"""A checkpoint is there as a whole or not at all, and damage to it is found."""

import errno
import hashlib
import io
import os
import resource
import signal
import stat
import subprocess
import sys
import zipfile

import pytest
import torch

from fastsegformer_mm.engine.checkpoint import write
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.read import read_checkpoint
from fastsegformer_mm.engine.checkpoint.write import (
    remove_leftovers,
    replace_file,
    verify_checksum,
    with_checksum,
    write_checkpoint,
)

CONTENT = {'state_dict': {'w': torch.arange(500.0)}, 'meta': {'iter': 7}}


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path):
    return write_checkpoint(CONTENT, tmp_path / 'new' / 'epoch_3.pth')


def test_round_trip(path):
    assert [p.name for p in path.parent.iterdir()] == ['epoch_3.pth']
    for content in (torch.load(str(path), mmap=True), read_checkpoint(path)):
        assert torch.equal(content['state_dict']['w'], torch.arange(500.0))
        assert content['meta'] == {'iter': 7}
    assert verify_checksum(path) is True


def test_checksum_is_that_of_the_archive_as_torch_saved_it(tmp_path):
    data = saved(CONTENT)
    path = tmp_path / 'a.pth'
    path.write_bytes(with_checksum(data))
    expected = b'sha256:' + hashlib.sha256(data).hexdigest().encode()
    assert zipfile.ZipFile(path).comment == expected
    assert zipfile.ZipFile(path).testzip() is None
    assert with_checksum(path.read_bytes()) == path.read_bytes()


@pytest.mark.parametrize(
    'data',
    [b'', b'PK', b'<html>', b'PK\x03\x04' + b'x' * 40, b'PK\x05\x06' + b'\0' * 18],
)
def test_other_files_get_none(tmp_path, data):
    (tmp_path / 'a').write_bytes(data)
    assert with_checksum(data) == data
    assert verify_checksum(tmp_path / 'a') is None


def test_other_zip_archives_are_left_alone(tmp_path):
    for comment in (b'', b'a remark'):
        with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
            archive.writestr('a/b.txt', 'text')
            archive.comment = comment
        data = (tmp_path / 'a.zip').read_bytes()
        assert with_checksum(data) == data
        assert verify_checksum(tmp_path / 'a.zip') is None


def test_files_without_checksum_load(tmp_path):
    torch.save(CONTENT, tmp_path / 'zip.pth')
    torch.save(CONTENT, tmp_path / 'old.pth', _use_new_zipfile_serialization=False)
    for name in ('zip.pth', 'old.pth'):
        assert verify_checksum(tmp_path / name) is None
        assert read_checkpoint(tmp_path / name)['meta'] == {'iter': 7}


def cuts(data):
    """Offsets of every kind of place at which a file may end."""
    directory = data.index(b'PK\x01\x02')
    end = data.index(b'PK\x05\x06')
    size = len(data)
    return {
        'nothing': 0, 'one byte': 1, 'in the first header': 20, 'at a kilobyte': 1024,
        'in the middle': size // 2, 'in the directory': directory + 30,
        'before the end record': end, 'in the end record': end + 12,
        'before the comment': end + 22, 'in the comment': end + 60,
        'the last byte': size - 1,
    }  # fmt: skip


def test_truncated_anywhere(path):
    data = path.read_bytes()
    for place, size in cuts(data).items():
        path.write_bytes(data[:size])
        assert not verify_checksum(path), place
        with pytest.raises(CheckpointError, match=r'epoch_3\.pth'):
            read_checkpoint(path)
    # torch.load reads these to the end without complaint: only the checksum tells
    path.write_bytes(data[:-1])
    assert verify_checksum(path) is False
    path.write_bytes(data + b'\0')
    assert verify_checksum(path) is False


def test_flipped_bits_anywhere(path):
    data = path.read_bytes()
    weights = torch.arange(500.0).numpy().tobytes()
    places = {
        'a weight': data.index(weights) + 1999, 'the pickle': data.index(b'state_dict'),
        'the directory': data.index(b'PK\x01\x02') + 16, 'padding': data.index(b'ZZZ'),
        'the sum': len(data) - 3, 'the prefix of the sum': len(data) - 69,
        'the length of the comment': len(data) - 73,
    }  # fmt: skip
    for place, offset in places.items():
        damaged = bytearray(data)
        damaged[offset] ^= 1
        path.write_bytes(damaged)
        assert verify_checksum(path) is False, place
        with pytest.raises(CheckpointError, match=r'epoch_3\.pth'):
            read_checkpoint(path)
    # what torch.load alone makes of it: a wrong weight
    damaged = bytearray(data)
    damaged[places['a weight']] ^= 1
    path.write_bytes(damaged)
    assert torch.load(path)['state_dict']['w'][499] != 499


@pytest.mark.parametrize('step', ['write', 'fsync', 'replace'])
def test_full_disk(path, monkeypatch, step):
    """Wherever the disk is found to be full: some say so only when they synchronise."""
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if step == 'write':
        class Full(io.BytesIO):
            write = full

        monkeypatch.setattr(write, 'open', lambda *a: Full(), raising=False)
    else:
        monkeypatch.setattr(write.os, step, full)
    with pytest.raises(CheckpointError) as caught:
        write_checkpoint({'w': torch.zeros(1000)}, path)
    monkeypatch.undo()
    size = len(with_checksum(saved({'w': torch.zeros(1000)})))
    message = str(caught.value)
    assert str(path) in message
    assert f'No space left on device; {size:,} bytes are needed' in message
    assert 'are free' in message
    assert 'Earlier checkpoints stay, the file of that name is as it was' in message
    assert isinstance(caught.value, OSError)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ['epoch_3.pth']


def test_a_real_limit_of_the_system(path):
    """The kernel takes a part of the file, then no more."""
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r'File too large; \d+,'):
            write_checkpoint({'w': torch.zeros(100_000)}, path)
        with pytest.raises(CheckpointError, match='nothing is left of it'):
            write_checkpoint({'w': torch.zeros(100_000)}, path.with_name('epoch_4.pth'))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ['epoch_3.pth']


def test_interrupted_from_the_keyboard(path, monkeypatch):
    before = path.read_bytes()

    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(write.os, 'fsync', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint({'w': torch.zeros(1)}, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ['epoch_3.pth']


def test_synchronised_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle):
        mode = os.fstat(handle)
        done.append('folder' if stat.S_ISDIR(mode.st_mode) else mode.st_size)
        fsync(handle)

    def note_replace(source, target):
        done.append('rename')
        replace(source, target)

    monkeypatch.setattr(write.os, 'fsync', note_fsync)
    monkeypatch.setattr(write.os, 'replace', note_replace)
    replace_file(tmp_path / 'a', [b'12345'])
    assert done == [5, 'rename', 'folder']
    replace_file(tmp_path / 'b', [b'12345'], sync=False)
    assert done[3:] == ['rename']


def test_links_modes_and_pipes(tmp_path):
    real = tmp_path / 'elsewhere' / 'real.txt'
    replace_file(real, [b'old'])
    real.chmod(0o640)
    (tmp_path / 'link').symlink_to(real)
    replace_file(tmp_path / 'link', [b'new'])
    assert (tmp_path / 'link').is_symlink()
    assert real.read_bytes() == b'new'
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert replace_file('/dev/null', [b'gone']).is_char_device()


def test_leftovers(tmp_path):
    """Those of the dead and of an earlier process with our number go, no others."""
    living = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    names = {
        f'.epoch_3.pth.{dead.pid}.tmp', f'.last_checkpoint.{os.getpid()}.tmp',
        '.epoch_3.pth.99999999999999999999.tmp',
    }  # fmt: skip
    others = {f'.epoch_4.pth.{living.pid}.tmp', '.epoch_4.tmp', 'a.1.tmp', '.b.c.tmp'}
    for name in names | others:
        (tmp_path / name).touch()
    try:
        assert {p.name for p in remove_leftovers(tmp_path)} == names
    finally:
        living.communicate(b'\n')
    assert {p.name for p in tmp_path.iterdir()} == others
    assert remove_leftovers(tmp_path / 'absent') == []


def test_killed_while_writing(path):
    """The file that was there is there, and the half of the new one is removed."""
    before = path.read_bytes()
    child = os.fork()
    if not child:
        os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
        write_checkpoint({'w': torch.zeros(1000)}, path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    temporary = path.with_name(f'.epoch_3.pth.{child}.tmp')
    assert temporary.stat().st_size > 4000
    assert path.read_bytes() == before
    assert remove_leftovers(path.parent) == [temporary]
    assert verify_checksum(path) is True
