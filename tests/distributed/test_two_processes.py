"""Two processes on the CPU do what one does with the summed batch."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from robust_training.cpu_launchers import can_shard_on_cpu

HERE = Path(__file__).parent
tiny = SimpleNamespace(
    **runpy.run_path(str(HERE.parent / 'distillation' / 'tiny.py')))
set_up = tiny.set_up
run_worker = runpy.run_path(str(HERE.parent / 'run_worker.py'))['run_worker']
# of float32 sums in another order, over a few steps
ROUNDING = 2e-6


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where two_processes.py has run."""
    folder = tmp_path_factory.mktemp('processes')
    run = run_worker(HERE / 'two_processes.py', folder)
    (folder / 'said').write_text(run.stdout + run.stderr)
    return folder


@pytest.fixture(scope='module')
def found(folder):
    """Results of rank 0, rank 1, and of the process alone."""
    return [torch.load(folder / f'{role}.pt', weights_only=False)
            for role in (0, 1, 'alone')]


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max(float((a[k].double() - b[k].double()).abs().max()) for k in a)


def test_joined_by_gloo(folder, found):
    assert [f['backend'] for f in found] == ['gloo', 'gloo', False]
    assert [f['main'] for f in found] == [True, False, True]
    said = (folder / 'said').read_text()
    line = 'No GPU: 2 processes on the CPU, joined by gloo instead of nccl'
    assert said.count(line) == 1
    assert 'find_unused_parameters' not in said


@pytest.mark.parametrize('name', [
    'plain', 'distilled', 'augmented', 'partly_labelled', 'sharded'])
def test_same_as_one_process(found, name):
    """Losses of every iteration, and the weights after them."""
    if name == 'sharded' and not can_shard_on_cpu():
        pytest.skip('this torch does not shard without a GPU')
    first, second, alone = (f[name] for f in found)
    assert len(alone['losses']) == (4 if name == 'augmented' else 6)
    for a, b, whole in zip(first['losses'], second['losses'], alone['losses']):
        assert a.keys() == b.keys() == whole.keys()
        # each process saw other images
        assert a['loss'] != b['loss']
        for key in whole:
            assert (a[key] + b[key]) / 2 == pytest.approx(whole[key], abs=ROUNDING)
    assert abs(alone['losses'][0]['loss'] - alone['losses'][-1]['loss']) > 1e-3
    assert largest_difference(first['weights'], alone['weights']) < ROUNDING
    assert first['scores'] == alone['scores']
    assert first['trained'] == second['trained'] == alone['trained']
    wrapper = dict(sharded='MMFullyShardedDataParallel').get(
        name, 'MMDistributedDataParallel')
    assert first['wrapper'] == second['wrapper'] == wrapper
    if name != 'sharded':  # rank 0 alone gathers the shards
        assert largest_difference(first['weights'], second['weights']) == 0


def test_distillation_had_its_whole_course(found):
    """Frozen at first, warmed up, stopped; one teacher, loaded by both."""
    first, second, alone = (f['distilled'] for f in found)
    frozen, *_, trained = alone['trained']
    assert alone['trained'] == [frozen] * 2 + [trained] * 4
    assert frozen < trained
    names = [set(step) for step in first['losses']]
    assert 'distill.loss_first' in names[4]
    assert 'distill.loss_stopped' in names[5]
    assert largest_difference(first['teacher'], second['teacher']) == 0
    assert largest_difference(first['teacher'], alone['teacher']) == 0


def test_processes_draw_other_images_of_each_kind(found):
    """Together those that one draws, and each image once in each pass."""
    first, second, alone = (f['partly_labelled']['images'] for f in found)
    for labelled, size in ((True, 4), (False, 8)):
        one, two, both = (
            [image for batch in role for kind, image in batch if kind == labelled]
            for role in (first, second, alone))
        assert both == [image for pair in zip(one, two) for image in pair]
        for k in range(0, 12, size):
            assert len(set(both[k:k + size])) == len(both[k:k + size])


@pytest.mark.parametrize('images', [5, 7])
def test_every_image_counts_once(found, images):
    """Though two processes cannot share them evenly."""
    first, second, alone = (f['shares'][images] for f in found)
    assert first[0] == alone[0] == second[0]
    assert {key.split('/')[0] for key in first[0]} == {'gpu', 'cpu', 'stock'}
    for matrix, expected in zip(first[1:], alone[1:]):
        assert np.array_equal(matrix, expected)
        assert matrix.sum() == images * 64 * 64
        assert (matrix.sum(0) > 0).sum() >= 3
    assert second[1:] == (None, None)


def test_rank_0_alone_writes(folder, found):
    """Its hooks share a folder; else each has its own, so that files of all show."""
    assert found[1]['written'] == []
    assert [p for p in (folder / '1').rglob('*') if p.is_file()] == []
    written = {Path(p) for p in found[0]['written']}
    work_dir = folder / 'both' / 'distilled'
    names = [p.relative_to(work_dir).as_posix() for p in written if p.is_file()]
    assert {'iter_6.pth', 'last_checkpoint', 'student/iter_6.pth'} <= set(names)
    # logs, the figures of the test, the reports of validation and test
    ends = sorted(name.partition('/')[2] for name in names if name[:2] == '20')
    assert {'evaluation/metrics.json', 'evaluation_val/confusion_matrix.png',
            'vis_data/scalars.json', 'vis_data/config.py'} <= set(ends)
    assert sum(e.endswith('.log') for e in ends) == 1
    assert sum(e.endswith('.json') and '/' not in e for e in ends) == 1


def scored(folder, name, work_dir):
    """The score of a checkpoint, in this process alone."""
    cfg = tiny.runner_cfg(folder / 'data', work_dir, model=tiny.student())
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'val_dataloader',
                'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    cfg.test_evaluator = dict(type='DefectIoUMetric')
    cfg.load_from = str(folder / '0' / name / 'epoch_3.pth')
    return Runner.from_cfg(cfg).test()


def test_batch_norm(folder, found, tmp_path):
    """With SyncBuffersHook the score of the validation is that of the checkpoint."""
    apart, together = (
        [f['statistics'][name] for f in found[:2]] for name in ('apart', 'together'))
    key = 'backbone.stem.bn.running_mean'
    difference = apart[0]['weights'][key] - apart[1]['weights'][key]
    assert difference.abs().max() > 1e-4
    assert scored(folder, 'apart', tmp_path / 'apart') != apart[0]['scores']

    assert largest_difference(together[0]['weights'], together[1]['weights']) == 0
    mean = (apart[0]['weights'][key] + apart[1]['weights'][key]) / 2
    assert (together[0]['weights'][key] - mean).abs().max() < 1e-2
    assert scored(folder, 'together', tmp_path / 'together') == together[0]['scores']


def test_sync_bn_is_refused_on_a_cpu(found):
    """Not done wrongly; one process alone has nothing to synchronise."""
    first, second, alone = (f['sync_bn'] for f in found)
    assert 'SyncBatchNorm layers only work with GPU modules' in first
    assert (second, alone) == (first, None)


def test_sharded_checkpoint_is_like_any_other(folder, found):
    """A test or a distillation of one process reads it."""
    if not can_shard_on_cpu():
        pytest.skip('this torch does not shard without a GPU')
    content = torch.load(
        folder / '0' / 'sharded' / 'epoch_3.pth', map_location='cpu',
        weights_only=False)
    alone = found[2]['sharded']['weights']
    assert largest_difference(content['state_dict'], alone) < ROUNDING
    assert len(content['optimizer']['state']) == len(alone)
