"""Whatever MMEngine writes comes through the backend that writes whole files."""

import errno
import os

import pytest
import torch
from mmengine import fileio
from mmengine.fileio import FileClient, LocalBackend, get_file_backend
from mmengine.runner import save_checkpoint

from fastsegformer_mm.engine.checkpoint import read_checkpoint, write
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.write import verify_checksum
from robust_training.local_backend import (
    AtomicHardDiskBackend,
    AtomicLocalBackend,
    install_atomic_writes,
)

WAYS = {
    'plain': {},
    'backend_args': dict(backend_args=dict(backend='local')),
    'file_client_args': dict(file_client_args=dict(backend='disk')),
}


@pytest.mark.parametrize('way', WAYS)
def test_checkpoints_of_mmengine(tmp_path, way):
    path = str(tmp_path / 'run' / 'epoch_1.pth')
    save_checkpoint({'w': torch.ones(3)}, path, **WAYS[way])
    assert verify_checksum(path) is True
    assert torch.equal(read_checkpoint(path)['w'], torch.ones(3))
    assert os.listdir(tmp_path / 'run') == ['epoch_1.pth']


@pytest.mark.parametrize('way', WAYS)
def test_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch, way):
    path = str(tmp_path / 'epoch_1.pth')
    save_checkpoint({'w': torch.ones(3)}, path, **WAYS[way])

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(write.os, 'fsync', full)
    with pytest.raises(CheckpointError, match='No space left'):
        save_checkpoint({'w': torch.zeros(3)}, path, **WAYS[way])
    assert torch.equal(read_checkpoint(path)['w'], torch.ones(3))
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_backends_in_use_before_are_replaced(monkeypatch):
    # as MMEngine keeps it once it has read a file
    monkeypatch.setattr(fileio.io, 'backend_instances', {})
    get_file_backend('/a', enable_singleton=True)
    (key,) = fileio.io.backend_instances
    fileio.io.backend_instances[key] = LocalBackend()
    install_atomic_writes()
    backend = get_file_backend('/a', enable_singleton=True)
    assert type(backend) is AtomicLocalBackend
    assert type(get_file_backend('/a')) is AtomicLocalBackend
    client = FileClient(backend='disk').client
    assert type(client) is AtomicHardDiskBackend
    assert isinstance(client, LocalBackend)


def test_other_files_are_written_as_they_are(tmp_path, monkeypatch):
    # no waiting for the disk with each image
    monkeypatch.setattr(write.os, 'fsync', None)
    fileio.put(b'\x89PNG', tmp_path / 'a' / 'image.png')
    assert (tmp_path / 'a' / 'image.png').read_bytes() == b'\x89PNG'
    fileio.put_text('Größe\n', tmp_path / 'b' / 'text', backend_args=None)
    assert (tmp_path / 'b' / 'text').read_text('utf-8') == 'Größe\n'
    AtomicLocalBackend().put_text('é', tmp_path / 'c', encoding='latin-1')
    assert (tmp_path / 'c').read_bytes() == b'\xe9'
    assert sorted(p.name for p in tmp_path.rglob('*')) == [
        'a', 'b', 'c', 'image.png', 'text']
