"""The old checkpoint goes when the new one is there; what is kept is what was asked."""

import errno
import os
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine import fileio
from mmengine.config import Config
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook

from fastsegformer_mm.engine.checkpoint import write
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.hooks import SafeCheckpointHook
from robust_training import install_atomic_writes

short = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('short_run.py'))))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: '# not formatted'))


def load(path):
    return torch.load(path, weights_only=False)


def info(path):
    return load(path)['message_hub']['runtime_info']


CASES = {
    'all are kept': dict(max_keep_ckpts=-1),
    'one is kept': dict(max_keep_ckpts=1),
    'three are kept': dict(max_keep_ckpts=3),
    'every second': dict(max_keep_ckpts=1, interval=2),
    'the last alone': dict(interval=-1),
    'none': dict(interval=-1, save_last=False),
    'no best': dict(save_best=None),
    'two best': dict(save_best=['score', 'other']),
    'the best is found out': dict(save_best='auto', rule=None, greater_keys=['score']),
    'the first is best': dict(falls=True),
    'by iteration': dict(by_epoch=False, max_keep_ckpts=2),
    'into one file': dict(filename_tmpl='latest.pth'),
    'begun late': dict(save_begin=2, interval=1),
}


@pytest.mark.parametrize('case', CASES)
def test_leaves_what_mmengine_leaves(tmp_path, case):
    kwargs = CASES[case]
    ours = short.train(tmp_path / 'ours', **kwargs)
    theirs = short.train(tmp_path / 'theirs', **kwargs, type='CheckpointHook')
    files = short.files(tmp_path / 'theirs')
    assert short.files(tmp_path / 'ours') == files
    for name in files - {'last_checkpoint'}:
        a, b = (load(tmp_path / which / name) for which in ('ours', 'theirs'))
        assert set(a) == set(b)
        assert all(torch.equal(a['state_dict'][k], b['state_dict'][k])
                   for k in b['state_dict'])
        assert (a['meta']['epoch'], a['meta']['iter']) == (
            b['meta']['epoch'], b['meta']['iter'])
    for key in ('keep_ckpt_ids', 'best_score', 'best_score_score', 'best_score_other'):
        assert ours.message_hub.runtime_info.get(key) == (
            theirs.message_hub.runtime_info.get(key))
    for key in ('last_ckpt', 'best_ckpt', 'best_ckpt_score', 'best_ckpt_other'):
        named = theirs.message_hub.runtime_info.get(key)
        assert ours.message_hub.runtime_info.get(key) == (
            named and named.replace('/theirs/', '/ours/'))
    if 'last_checkpoint' in files:
        text = (tmp_path / 'ours' / 'last_checkpoint').read_text()
        assert text == ours.message_hub.get_info('last_ckpt')


@pytest.mark.parametrize('case', sorted(set(CASES) - {'none', 'the last alone'}))
def test_interrupted_and_resumed_leaves_the_same(tmp_path, case):
    short.train(tmp_path / 'straight', **CASES[case])
    for epochs in (2, 3, 4):
        run = short.train(tmp_path / 'run', epochs=epochs, resume=True, **CASES[case])
    files = short.files(tmp_path / 'straight')
    extra = short.files(tmp_path / 'run') - files
    # save_last writes more where training was ended before
    assert not extra or case in ('begun late', 'every second')
    assert files <= short.files(tmp_path / 'run')
    hub = run.message_hub.runtime_info
    for key in ('best_ckpt', 'best_ckpt_score', 'best_ckpt_other'):
        assert hub.get(key) is None or Path(hub[key]).is_file()


def saver(runner):
    return next(h for h in runner.hooks if isinstance(h, CheckpointHook))


def test_a_checkpoint_knows_of_the_one_that_goes(tmp_path):
    """Whoever resumes from it removes what a kill had left, MMEngine's hook too."""
    run = tmp_path / 'run'
    short.train(run, epochs=2, max_keep_ckpts=-1)
    old = run / 'epoch_1.pth'
    copy = shutil.copy(old, tmp_path)
    old.unlink()
    for kind in ('SafeCheckpointHook', 'CheckpointHook'):
        short.train(run, epochs=2, save_best=None)
        assert info(run / 'epoch_2.pth')['keep_ckpt_ids'] == [1, 2]
        assert not old.exists()
        shutil.copy(copy, old)
        runner = short.train(run, epochs=2, resume=True, save_best=None, type=kind)
        assert not old.exists()
        assert list(saver(runner).keep_ckpt_ids) == [2]


def interrupted_after_best(run, monkeypatch):
    """Stop when the best one is there, and no regular one names it yet."""
    save = short.Runner.save_checkpoint

    def until_best(runner, out_dir, filename, *args, **others):
        save(runner, out_dir, filename, *args, **others)
        if filename == 'best_score_epoch_3.pth':
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(short.Runner, 'save_checkpoint', until_best)
        with pytest.raises(KeyboardInterrupt):
            short.train(run)
    assert info(run / 'epoch_3.pth')['best_ckpt'] == str(run / 'best_score_epoch_2.pth')


def test_a_best_one_that_none_names_is_taken_up(tmp_path, monkeypatch):
    run = tmp_path / 'run'
    interrupted_after_best(run, monkeypatch)
    runner = short.train(run, epochs=3, resume=True)
    hub = runner.message_hub.runtime_info
    assert hub['best_ckpt'] == str(run / 'best_score_epoch_3.pth')
    assert hub['best_score'] == 11
    # the regular one on the disk names the one before, so both stay for now
    assert short.files(run) == {
        'best_score_epoch_2.pth', 'best_score_epoch_3.pth', 'epoch_3.pth',
        'last_checkpoint'}
    short.train(run, resume=True, falls=True)
    assert short.files(run) == {
        'best_score_epoch_3.pth', 'epoch_4.pth', 'last_checkpoint'}
    assert info(run / 'epoch_4.pth')['best_ckpt'] == str(run / 'best_score_epoch_3.pth')


@pytest.mark.parametrize('change', ['broken', 'of another training'])
def test_a_best_one_that_does_not_belong_here(tmp_path, monkeypatch, change):
    run = tmp_path / 'run'
    interrupted_after_best(run, monkeypatch)
    path = run / 'best_score_epoch_3.pth'
    if change == 'broken':
        path.write_bytes(path.read_bytes()[:1000])
    else:
        content = load(path)
        content['meta']['experiment_name'] = 'another'
        write.write_checkpoint(content, path)
    runner = short.train(run, epochs=3, resume=True)
    hub = runner.message_hub.runtime_info
    assert hub['best_ckpt'] == str(run / 'best_score_epoch_2.pth')
    assert hub['best_score'] == 7
    assert path.exists()


def test_weights_to_begin_with_bring_no_best(tmp_path, monkeypatch):
    """``load_from`` without ``resume`` starts anew."""
    run = tmp_path / 'run'
    interrupted_after_best(run, monkeypatch)
    cfg = short.short_cfg(run, epochs=1, falls=True)
    cfg.load_from = str(run / 'epoch_3.pth')
    runner = short.Runner.from_cfg(cfg)
    runner.train()
    assert runner.message_hub.get_info('best_ckpt') == str(
        run / 'best_score_epoch_1.pth')
    assert (run / 'best_score_epoch_2.pth').exists()


def test_weights_to_begin_with_bring_no_best_of_their_name(tmp_path):
    run = tmp_path / 'run'
    short.train(run, epochs=2, filename_tmpl='latest.pth')
    cfg = short.short_cfg(run, epochs=1, filename_tmpl='latest.pth')
    cfg.load_from = str(run / 'latest.pth')
    runner = short.Runner.from_cfg(cfg)
    runner.train()
    assert runner.message_hub.get_info('best_score') == 3


def test_a_resumed_run_saves_with_each_best_one(tmp_path):
    """As one that was not interrupted, also before its first regular one is due."""
    kwargs = dict(interval=3, max_keep_ckpts=-1)
    short.train(tmp_path / 'straight', epochs=5, **kwargs)
    for epochs in (3, 5):
        short.train(tmp_path / 'run', epochs=epochs, resume=True, **kwargs)
    assert short.files(tmp_path / 'straight') == short.files(tmp_path / 'run') == {
        'best_score_epoch_5.pth', 'epoch_3.pth', 'epoch_4.pth', 'epoch_5.pth',
        'last_checkpoint'}


def test_files_of_another_folder_stay(tmp_path):
    """A training that goes on in a copy takes the copy's files, and no others."""
    before, copy, new = (tmp_path / name for name in ('before', 'copy', 'new'))
    short.train(before, epochs=2)
    files = short.files(before)
    shutil.copytree(before, copy)
    short.train(copy, resume=True)
    assert short.files(copy) == {
        'best_score_epoch_4.pth', 'epoch_4.pth', 'last_checkpoint'}
    cfg = short.short_cfg(new, resume=True)
    cfg.load_from = str(before / 'epoch_2.pth')
    short.Runner.from_cfg(cfg).train()
    assert short.files(new) == short.files(copy)
    assert short.files(before) == files


@pytest.mark.parametrize('name', ['epoch_2.pth', 'best_score_epoch_2.pth'])
def test_full_disk(tmp_path, monkeypatch, name):
    """Training ends with what it had before."""
    run = tmp_path / 'run'
    replace = os.replace

    def full(source, target):
        if Path(target).name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(write.os, 'replace', full)
        with pytest.raises(CheckpointError, match=f'{name}: No space left'):
            short.train(run)
    # the regular one of epoch 2 was complete when the best one was tried
    regular = 'epoch_1.pth' if name == 'epoch_2.pth' else 'epoch_2.pth'
    assert short.files(run) == {regular, 'best_score_epoch_1.pth', 'last_checkpoint'}
    assert (run / 'last_checkpoint').read_text() == str(run / regular)
    short.train(run, resume=True)
    assert short.files(run) == {
        'best_score_epoch_4.pth', 'epoch_4.pth', 'last_checkpoint'}


def test_checkpoints_saved_as_folders(tmp_path):
    """As those of deepspeed; they are removed as well."""
    hook = SafeCheckpointHook(max_keep_ckpts=1)
    hook.out_dir = str(tmp_path)
    hook.file_backend = LocalBackend()
    (tmp_path / 'epoch_1.pth' / 'shard').mkdir(parents=True)
    assert hook._remove(str(tmp_path / 'epoch_1.pth'))
    assert not (tmp_path / 'epoch_1.pth').exists()
    assert not hook._remove(str(tmp_path / 'epoch_1.pth'))


def test_says_when_mmengine_writes(tmp_path, monkeypatch, caplog):
    """The training goes on as a plain one."""
    monkeypatch.setattr(fileio.io, 'backend_instances', {})
    fileio.register_backend('local', LocalBackend, force=True, prefixes='')
    try:
        runner = short.Runner.from_cfg(short.short_cfg(tmp_path, epochs=1))
        runner.logger.addHandler(caplog.handler)
        runner.logger.setLevel('WARNING')
        runner.train()
    finally:
        install_atomic_writes()
    [line] = [m for m in caplog.messages if m.startswith('SafeCheckpointHook: ')]
    assert "add 'robust_training' to the imports of custom_imports" in line
    assert write.verify_checksum(tmp_path / 'epoch_1.pth') is None
    assert load(tmp_path / 'epoch_1.pth')['meta']['epoch'] == 1
