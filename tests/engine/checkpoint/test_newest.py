"""Which checkpoint training goes on from, and what is said of the others."""

import os

import pytest
import torch

from fastsegformer_mm.engine.checkpoint.newest import newest_checkpoint
from fastsegformer_mm.engine.checkpoint.write import write_checkpoint


class Folder:
    """A work_dir whose checkpoints are written one second after another."""

    def __init__(self, path):
        self.path = path
        self.clock = 1_000_000_000

    def add(self, name, last=True, **content):
        number = int(''.join(filter(str.isdigit, name)) or 0)
        content = dict(
            dict(meta=dict(epoch=number, iter=10 * number), state_dict={},
                 message_hub={}, optimizer={'x': torch.zeros(300)}), **content)
        path = write_checkpoint(
            {k: v for k, v in content.items() if v is not None}, self.path / name)
        self.clock += 1
        os.utime(path, (self.clock, self.clock))
        if last:
            self.last(path)
        return path

    def last(self, name):
        self.path.mkdir(exist_ok=True)
        (self.path / 'last_checkpoint').write_text(str(name))

    def newest(self, **kwargs):
        found = newest_checkpoint(self.path, **kwargs)
        return found.path and found.path.name, found.skipped


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / 'run')


def cut(path, size=1024):
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:size])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_newest_of_many(folder):
    for number in (1, 2, 9, 10):
        folder.add(f'epoch_{number}.pth')
    found = newest_checkpoint(folder.path)
    assert found.path == folder.path / 'epoch_10.pth'
    assert (found.epoch, found.iter, found.skipped) == (10, 100, [])


def test_nothing_there(folder, tmp_path):
    assert folder.newest() == (None, [])
    tmp_path.joinpath('run').mkdir()
    assert folder.newest() == (None, [])


def test_truncated_newest(folder):
    for number in (1, 2, 3):
        path = folder.add(f'epoch_{number}.pth')
    for size in (path.stat().st_size - 1, 1000, 500, 1, 0):
        cut(path, size)
        name, [line] = folder.newest()
        assert name == 'epoch_2.pth'
        assert line.startswith('epoch_3.pth: ')
        assert '\n' not in line
        if size == 1000:
            assert 'is truncated' in line
            assert 'stops after 1,000 bytes' in line


def test_only_broken_ones(folder):
    for number in (1, 2):
        cut(folder.add(f'epoch_{number}.pth'))
    name, skipped = folder.newest()
    assert name is None
    assert [line.split(':')[0] for line in skipped] == ['epoch_2.pth', 'epoch_1.pth']


@pytest.mark.parametrize('missing', ['optimizer', 'meta', 'message_hub', 'state_dict'])
def test_not_written_to_resume_from(folder, missing):
    folder.add('epoch_1.pth')
    folder.add('epoch_2.pth', **{missing: None})
    name, [line] = folder.newest()
    assert name == 'epoch_1.pth'
    assert line.startswith(f'epoch_2.pth: has no {missing}: not written to resume')
    expected = 'epoch_2.pth' if missing == 'optimizer' else 'epoch_1.pth'
    assert folder.newest(need_optimizer=False)[0] == expected


@pytest.mark.parametrize('meta', [{'iter': 5}, {'epoch': 5}])
def test_no_place_in_the_training(folder, meta):
    folder.add('epoch_5.pth', meta=meta)
    name, [line] = folder.newest()
    assert name is None
    assert line == (
        'epoch_5.pth: does not say at which epoch and iteration it was made')


def test_content_that_is_no_dict(folder):
    folder.add('epoch_1.pth')
    write_checkpoint([torch.zeros(2)], folder.path / 'epoch_2.pth')
    name, [line] = folder.newest()
    assert name == 'epoch_1.pth'
    assert line.startswith('epoch_2.pth: has no meta, message_hub, state_dict')


def test_others_are_no_candidates(folder):
    folder.add('epoch_1.pth')
    for name in ('best_mIoU_epoch_7.pth', 'epoch_8-1a2b3c4d.pth', 'student/epoch_9.pth',
                 'epoch_9.pth.bak', 'my_epoch_9.pth', 'epoch_x.pth',
                 '.epoch_9.pth.12.tmp'):
        folder.add(name, last=False)
    (folder.path / 'epoch_99.pth').mkdir()
    assert folder.newest() == ('epoch_1.pth', [])


def test_killed_before_last_checkpoint_was_written(folder):
    folder.add('epoch_3.pth')
    folder.add('epoch_4.pth', last=False)
    assert folder.newest() == ('epoch_4.pth', [])


def test_left_over_from_an_earlier_training(folder):
    """A new training in the same folder has come to epoch 2."""
    for number in (1, 2, 3, 9):
        folder.add(f'epoch_{number}.pth')
    for number in (1, 2):
        path = folder.add(f'epoch_{number}.pth')
    assert folder.newest() == ('epoch_2.pth', [])
    cut(path)
    assert folder.newest()[0] == 'epoch_1.pth'
    cut(folder.path / 'epoch_1.pth')
    assert folder.newest()[0] == 'epoch_9.pth'


def test_last_checkpoint_names_what_is_not_there(folder):
    folder.add('epoch_2.pth')
    folder.add('epoch_10.pth')
    folder.last('/elsewhere/epoch_11.pth')
    assert folder.newest() == ('epoch_10.pth', [
        'last_checkpoint: names /elsewhere/epoch_11.pth, which is not there'])
    folder.last('')
    assert folder.newest() == ('epoch_10.pth', ['last_checkpoint: is empty'])


def test_folder_was_copied(folder, tmp_path):
    """Not what is going on in the folder that it was copied from."""
    folder.add('epoch_1.pth')
    other = Folder(tmp_path / 'other')
    other.clock += 100
    folder.last(other.add('epoch_1.pth'))
    found = newest_checkpoint(folder.path)
    assert found.path == folder.path / 'epoch_1.pth'


def test_last_checkpoint_names_one_in_another_folder(folder, tmp_path):
    path = Folder(tmp_path / 'other').add('epoch_4.pth')
    folder.last(path)
    assert newest_checkpoint(folder.path).path == path
    cut(path)
    assert folder.newest()[0] is None


def test_own_folder_and_names(folder, tmp_path):
    out = Folder(tmp_path / 'out')
    for name in ('model-0002.ckpt', 'model-0010.ckpt', 'epoch_3.pth'):
        path = out.add(name, last=False)
    folder.last(out.path / 'model-0010.ckpt')
    kwargs = dict(folder=out.path, templates=('model-{:04d}.ckpt', 'epoch_{}.pth'))
    assert folder.newest(**kwargs) == ('model-0010.ckpt', [])
    cut(out.path / 'model-0010.ckpt')
    assert folder.newest(**kwargs)[0] == 'model-0002.ckpt'
    cut(out.path / 'model-0002.ckpt')
    assert folder.newest(**kwargs)[0] == path.name == 'epoch_3.pth'


def test_two_kinds_of_names_go_by_time(folder):
    folder.add('iter_900.pth')
    folder.add('epoch_2.pth')
    os.remove(folder.path / 'last_checkpoint')
    assert folder.newest() == ('epoch_2.pth', [])
    folder.add('iter_100.pth', last=False)
    assert folder.newest() == ('iter_100.pth', [])


def test_one_file_that_is_written_over(folder):
    folder.add('latest.pth')
    assert folder.newest(templates=('latest.pth',)) == ('latest.pth', [])
