"""``resume=True`` goes on from the newest valid checkpoint, or says why not."""

import logging
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.logging import MMLogger
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from fastsegformer_mm.engine.checkpoint.digest import weights_digest
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.newest import Newest
from fastsegformer_mm.engine.hooks import ResumeNewestHook

short = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('short_run.py'))))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: '# not formatted'))


@pytest.fixture(scope='module')
def done(tmp_path_factory):
    """A training of three epochs, and the weights that four give."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, 'pretty_text', property(lambda self: '#'))
        folder = tmp_path_factory.mktemp('done')
        short.train(folder / 'run', epochs=3, max_keep_ckpts=-1)
        straight = short.train(folder / 'straight')
    return folder / 'run', weights_digest(straight.model.state_dict())


@pytest.fixture
def run(done, tmp_path):
    run = shutil.copytree(done[0], tmp_path / 'run')
    (run / 'last_checkpoint').write_text(str(run / 'epoch_3.pth'))
    return run


class Lines(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


def resume(run, **kwargs):
    """Train to the end; the weights, and what the hook has logged."""
    cfg = short.short_cfg(run, resume=True, **kwargs)
    cfg.log_level = 'INFO'
    runner = short.Runner.from_cfg(cfg)
    lines = Lines()
    runner.logger.addHandler(lines)
    try:
        runner.train()
    finally:
        MMLogger.get_current_instance().removeHandler(lines)
    said = [line for line in lines.lines if line.startswith('ResumeNewestHook: ')]
    return (
        weights_digest(runner.model.state_dict()),
        [line.removeprefix('ResumeNewestHook: ') for line in said])


def cut(path, size=1024):
    path.write_bytes(path.read_bytes()[:size])


def test_goes_on_from_the_newest(run, done):
    weights, said = resume(run)
    assert weights == done[1]
    assert said == [f'going on from {run / "epoch_3.pth"}, epoch 3, iteration 12']


def test_says_when_mmengine_reads_it(run, monkeypatch):
    monkeypatch.setitem(
        CheckpointLoader._schemes, '', mmengine_checkpoint.load_from_local)
    cfg = short.short_cfg(run, resume=True)
    cfg.log_level = 'WARNING'
    runner = short.Runner.from_cfg(cfg)
    lines = Lines()
    runner.logger.addHandler(lines)
    ResumeNewestHook().before_run(runner)
    assert runner._load_from == str(run / 'epoch_3.pth')
    [line] = [m for m in lines.lines if 'own loader' in m]
    assert "add 'robust_training' to the imports of custom_imports" in line


def test_truncated_newest(run, done):
    cut(run / 'epoch_3.pth')
    weights, said = resume(run, max_keep_ckpts=-1)
    assert weights == done[1]
    assert len(said) == 2
    assert said[0].startswith('skipped epoch_3.pth: ')
    assert 'truncated' in said[0]
    assert said[1].startswith(f'going on from {run / "epoch_2.pth"}, epoch 2,')
    # and the broken one was written anew on the way
    assert torch.load(run / 'epoch_3.pth', weights_only=False)['meta']['epoch'] == 3


def test_broken_ones_do_not_confuse_what_is_kept(tmp_path):
    run = tmp_path / 'run'
    short.train(run, epochs=3, max_keep_ckpts=3, save_best=None)
    cut(run / 'epoch_3.pth')
    resume(run, epochs=6, interval=2, max_keep_ckpts=2, save_best=None)
    # 1 was removed for 4, 2 for 6; the broken 3 is none of this training
    assert short.files(run) == {
        'epoch_3.pth', 'epoch_4.pth', 'epoch_6.pth', 'last_checkpoint'}
    content = torch.load(run / 'epoch_6.pth', weights_only=False)
    assert content['message_hub']['runtime_info']['keep_ckpt_ids'] == [2, 4, 6]


def test_last_checkpoint_names_what_is_resumed(run):
    """With nothing more to train, none is written that would put it right."""
    (run / 'last_checkpoint').write_text('/elsewhere/epoch_7.pth')
    _, said = resume(run, epochs=3)
    assert said[0] == (
        'skipped last_checkpoint: names /elsewhere/epoch_7.pth, which is not there')
    assert (run / 'last_checkpoint').read_text() == str(run / 'epoch_3.pth')


def test_only_broken_ones(run):
    for path in run.glob('epoch_*.pth'):
        cut(path)
    with pytest.raises(CheckpointError) as caught:
        resume(run)
    message = str(caught.value)
    assert f'no checkpoint in {run} can be resumed from' in message
    for name in ('epoch_1.pth: ', 'epoch_2.pth: ', 'epoch_3.pth: '):
        assert message.count(name) == 1
    assert 'or start from scratch: without --resume' in message


def test_removed_ones(run):
    """What MMEngine's own hook leaves when it is killed with max_keep_ckpts=1."""
    for path in run.glob('epoch_*.pth'):
        path.unlink()
    with pytest.raises(CheckpointError, match=r'last_checkpoint: names .*epoch_3\.pth'):
        resume(run)


def test_from_scratch(tmp_path, done):
    weights, said = resume(tmp_path / 'new')
    assert said == [
        f'no checkpoint in {tmp_path / "new"}, training starts from scratch']
    assert weights == done[1]


def test_explicit_checkpoint_is_not_looked_for(run, done):
    cfg = short.short_cfg(run, resume=True)
    cfg.load_from = str(run / 'epoch_1.pth')
    runner = short.Runner.from_cfg(cfg)
    runner.train()
    assert runner._load_from == str(run / 'epoch_1.pth')
    assert weights_digest(runner.model.state_dict()) == done[1]
    cut(run / 'epoch_1.pth')
    runner = short.Runner.from_cfg(cfg)
    with pytest.raises(CheckpointError, match=r'epoch_1\.pth.*truncated'):
        runner.train()


def test_without_resume_nothing_is_looked_for(run):
    runner = short.train(run, epochs=1)
    assert runner._load_from is None
    assert runner.iter == 4


def test_checkpoints_in_another_folder_under_other_names(tmp_path, done):
    kwargs = dict(out_dir=str(tmp_path / 'out'), filename_tmpl='model-{}.ckpt')
    short.train(tmp_path / 'run', epochs=3, max_keep_ckpts=-1, **kwargs)
    cut(tmp_path / 'out' / 'run' / 'model-3.ckpt')
    weights, said = resume(tmp_path / 'run', **kwargs)
    assert weights == done[1]
    assert said[1].startswith(f'going on from {tmp_path}/out/run/model-2.ckpt')


def test_saved_without_optimizer(tmp_path):
    short.train(tmp_path / 'run', epochs=2, save_optimizer=False)
    with pytest.raises(CheckpointError, match='has no optimizer: not written to res'):
        resume(tmp_path / 'run')
    _, said = resume(tmp_path / 'run', save_optimizer=False)
    assert said[0].startswith('going on from')


def test_leftovers_of_killed_runs(run):
    dead = subprocess.Popen([sys.executable, '-c', ''])
    dead.wait()
    (run / 'student').mkdir()
    gone = [run / f'.epoch_4.pth.{dead.pid}.tmp',
            run / 'student' / f'.epoch_4.pth.{dead.pid}.tmp']
    living = run / f'.epoch_4.pth.{os.getppid()}.tmp'
    for path in [*gone, living]:
        path.touch()
    _, said = resume(run)
    assert [p.exists() for p in [*gone, living]] == [False, False, True]
    for path in gone:
        assert f'removed {path}, which a killed run had left' in said


def test_a_folder_elsewhere_is_left_to_mmengine(run):
    runner = short.Runner.from_cfg(short.short_cfg(run, resume=True))
    saver = next(h for h in runner.hooks if isinstance(h, CheckpointHook))
    saver.out_dir = 's3://bucket'
    finder = next(h for h in runner.hooks if type(h).__name__ == 'ResumeNewestHook')
    finder.before_run(runner)
    assert runner._load_from is None


@pytest.mark.parametrize('broken', [False, True])
def test_other_processes_do_as_the_first(run, monkeypatch, broken):
    """They need not even see the files."""
    module = sys.modules[ResumeNewestHook.__module__]
    sent = []

    def runner():
        made = short.Runner.from_cfg(short.short_cfg(run, resume=True))
        return made, next(h for h in made.hooks if isinstance(h, ResumeNewestHook))

    if broken:
        for path in run.glob('epoch_*.pth'):
            cut(path)
    monkeypatch.setattr(module, 'broadcast_object_list', sent.extend)
    first, hook = runner()
    if broken:
        with pytest.raises(CheckpointError, match='can be resumed from'):
            hook.before_run(first)
    else:
        hook.before_run(first)
    (found,) = sent

    def receive(data):
        assert data == [Newest()]
        data[:] = [found]

    for path in run.glob('*'):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    monkeypatch.setattr(module, 'broadcast_object_list', receive)
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    second, hook = runner()
    if broken:
        with pytest.raises(CheckpointError, match='can be resumed from'):
            hook.before_run(second)
    else:
        hook.before_run(second)
        assert second._load_from == first._load_from == str(run / 'epoch_3.pth')
    assert not (run / 'last_checkpoint').exists()


def test_an_unreadable_folder_fails_in_all_processes(run, monkeypatch):
    module = sys.modules[ResumeNewestHook.__module__]

    def fail(*args):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(module, 'newest_checkpoint', fail)
    with pytest.raises(CheckpointError, match=r'cannot look for checkpoints: .*denied'):
        resume(run)
