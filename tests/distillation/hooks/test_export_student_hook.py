"""ExportStudentHook: the student of every checkpoint that there is."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fastsegformer_mm.distillation.hooks import ExportStudentHook

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
EXPORT = dict(type='mmrazor.ExportStudentHook')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


def students(work_dir, folder='student'):
    return {f.name: torch.load(f, weights_only=False)['state_dict']
            for f in Path(work_dir, folder).glob('*')}


def of_checkpoint(path):
    weights = torch.load(path, weights_only=False)['state_dict']
    return {k.removeprefix('architecture.'): v for k, v in weights.items()
            if k.startswith('architecture.')}


@pytest.mark.parametrize('by_epoch', [False, True])
def test_one_file_for_each_checkpoint(data, tmp_path, by_epoch):
    """The best is among them; those that are removed go from there too."""
    name = 'epoch' if by_epoch else 'iter'
    runner = tiny.runner(
        data, tmp_path, iters=4, by_epoch=by_epoch, custom_hooks=[EXPORT],
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', by_epoch=by_epoch, interval=1, max_keep_ckpts=2,
            save_best='mIoU')))
    runner.train_loop.val_interval = 1
    with tiny.messages(runner.logger) as said:
        runner.train()
    found = students(tmp_path)
    assert set(found) == {p.name for p in tmp_path.glob('*.pth')}
    assert {k for k in found if not k.startswith('best')} == {
        f'{name}_3.pth', f'{name}_4.pth'}
    assert len([k for k in found if k.startswith('best_mIoU_')]) == 1
    own = runner.model.student.state_dict()
    for file, weights in found.items():
        assert list(weights) == list(own)
        assert tiny.same(weights, of_checkpoint(tmp_path / file))
    assert tiny.same(found[f'{name}_4.pth'], own)
    assert not tiny.same(found[f'{name}_3.pth'], own)
    out = tmp_path / 'student' / f'{name}_1.pth'
    assert f'ExportStudentHook: the student alone is in {out}' in said


def test_a_resumed_training_removes_what_it_exported_before(data, tmp_path):
    checkpoint = dict(
        type='CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1)
    for iters in (1, 2):
        tiny.runner(
            data, tmp_path, iters=iters, custom_hooks=[EXPORT], resume=iters > 1,
            default_hooks=dict(checkpoint=checkpoint)).train()
    assert list(students(tmp_path)) == ['iter_2.pth']


def test_averaged_weights_with_an_ema_hook(data, tmp_path):
    ema = dict(type='EMAHook', momentum=0.5)
    runner = tiny.runner(
        data, tmp_path, iters=3,
        custom_hooks=[ema, dict(EXPORT, folder='alone')])
    runner.train()
    hook, = [h for h in runner.hooks if type(h).__name__ == 'EMAHook']
    exported = students(tmp_path, 'alone')['iter_3.pth']
    assert tiny.same(exported, hook.ema_model.module.student.state_dict())
    assert not tiny.same(exported, runner.model.student.state_dict())


def test_without_a_checkpoint_hook(data, tmp_path):
    runner = tiny.runner(
        data, tmp_path, custom_hooks=[EXPORT], default_hooks=dict(checkpoint=None))
    with pytest.raises(ValueError, match=(
            r'there is none: set default_hooks.checkpoint to '
            r"dict\(type='CheckpointHook'\)")):
        runner.train()


def test_validation_alone_exports_nothing(data, tmp_path):
    runner = tiny.runner(data, tmp_path, custom_hooks=[EXPORT])
    metrics = runner.val()
    assert 0 < metrics['mIoU'] < 100
    assert not list(tmp_path.rglob('*.pth'))


def test_runs_after_the_checkpoints_are_written():
    assert ExportStudentHook.priority == 'LOWEST'
