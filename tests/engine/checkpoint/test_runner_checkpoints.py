"""What MMEngine's Runner writes is read again, on both stacks.

Upstream's MMEngine cannot do it by itself since torch 2.6.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.checkpoint import read_checkpoint

tiny = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parents[2] / 'distillation' / 'tiny.py'))
)
set_up = tiny.set_up


@HOOKS.register_module(force=True)
class NumbersHook(Hook):
    """Puts into the message hub what hooks and metrics put there."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        hub = runner.message_hub
        hub.update_scalar('train/numpy', np.float32(runner.iter), count=2)
        hub.update_info('numpy', np.int64(runner.iter))
        hub.update_info('array', np.arange(3.0))
        hub.update_info('nested', dict(a=[np.bool_(True), (1, 2.5, None, 'x')]))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp('data'))


def settings(**changes):
    return dict(
        dict(
            model=tiny.student(),
            iters=4,
            custom_hooks=[
                dict(type='EMAHook', momentum=0.5),
                dict(type='NumbersHook'),
                dict(type='CheckCheckpointHook'),
            ],
            param_scheduler=[
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
                dict(type='PolyLR', by_epoch=False, begin=3, end=4),
            ],
            val_evaluator=dict(type='DefectIoUMetric'),
            test_evaluator=dict(type='DefectIoUMetric'),
            default_hooks=dict(
                logger=dict(type='LoggerHook', interval=1),
                checkpoint=dict(
                    type='CheckpointHook', by_epoch=False, interval=1, save_best='mIoU'
                ),
            ),
        ),
        **changes,
    )


def runner(data, work_dir, val_interval=2, **changes):
    made = tiny.runner(data, work_dir, **settings(**changes))
    made.train_loop.val_interval = val_interval
    return made


@pytest.fixture
def scaled(monkeypatch):
    """Mixed precision and its gradient scaler; MMEngine asks for an accelerator."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(
        amp_optimizer_wrapper,
        'GradScaler',
        lambda **kwargs: torch.amp.GradScaler('cpu', init_scale=256.0, **kwargs),
    )
    return dict(
        type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='Adam', lr=0.01)
    )


@pytest.mark.skipif(
    not hasattr(torch.amp, 'GradScaler'),
    reason='torch has no scaler of gradients for the CPU before 2.3',
)
def test_all_that_a_run_writes(data, tmp_path, scaled):
    """Histories, best scores, averages, schedulers, the scaler of AMP."""
    first = runner(data, tmp_path, optim_wrapper=scaled)
    first.register_hook(dict(type='EvaluationReportHook', on_val=True, dpi=20))
    first.train()
    best = first.message_hub.get_info('best_score')
    (best_file,) = tmp_path.glob('best_mIoU_iter_*.pth')
    for path in (tmp_path / 'iter_4.pth', best_file):
        content = read_checkpoint(path)
        hub = content['message_hub']
        step = int(path.stem.rpartition('_')[2])
        history = hub['log_scalars']['train/numpy'].data
        assert history[0].tolist() == list(range(step))
        assert hub['runtime_info']['array'].tolist() == [0, 1, 2]
        assert hub['runtime_info']['nested']['a'] == [True, (1, 2.5, None, 'x')]
        assert hub['runtime_info']['best_score'] == best
        assert content['ema_state_dict']
    # the best one has weights alone
    content = read_checkpoint(tmp_path / 'iter_4.pth')
    assert len(content['param_schedulers']) == 2
    scale = content['optimizer']['loss_scaler']
    assert (scale['scale'], scale['_growth_tracker']) == (256.0, 4)

    resumed = runner(
        data,
        tmp_path,
        iters=5,
        optim_wrapper=scaled,
        resume=True,
        load_from=str(tmp_path / 'iter_4.pth'),
    )
    resumed.train_loop.val_begin = 9
    resumed.train()
    assert resumed.iter == 5
    hub = resumed.message_hub
    assert hub.get_scalar('train/numpy').data[0].tolist() == [0, 1, 2, 3, 4]
    assert hub.get_scalar('train/numpy').statistics('max') == 4
    assert hub.get_info('best_score') == best
    assert resumed.optim_wrapper.loss_scaler.state_dict()['_growth_tracker'] == 5


def assert_same(a, b, where):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), where
        for key in a:
            assert_same(a[key], b[key], f'{where}.{key}')
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f'{where}.{i}')
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), where
    else:
        assert a == b, where


@pytest.mark.parametrize('automatic', [False, True])
def test_resumed_training_is_the_same(data, tmp_path, automatic):
    """No augmentation here; what is random is another test's matter."""
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    runner(data, straight, val_interval=4).train()
    where = dict(load_from=str(straight / 'iter_2.pth'))
    if automatic:
        stopped.mkdir()
        (straight / 'iter_2.pth').rename(stopped / 'iter_2.pth')
        (stopped / 'last_checkpoint').write_text(str(stopped / 'iter_2.pth'))
        where = {}
    again = runner(data, stopped, resume=True, val_interval=4, **where)
    again.train()
    a, b = (read_checkpoint(d / 'iter_4.pth') for d in (straight, stopped))
    for part in ('state_dict', 'ema_state_dict', 'optimizer', 'param_schedulers'):
        assert_same(a[part], b[part], part)


def test_what_was_written_is_tested(data, tmp_path):
    validated = {}
    made = runner(data, tmp_path, val_interval=4)
    val = made.val_loop.run
    made.val_loop.run = lambda: validated.update(val()) or validated
    made.train()
    tested = runner(data, tmp_path / 'test', load_from=str(tmp_path / 'iter_4.pth'))
    found = tested.test()
    assert found == validated
    assert 0 < found['mIoU'] < 100
    assert tested.iter == 0


def test_published_checkpoints(data, tmp_path):
    """CheckpointHook reads what it publishes."""
    hook = dict(
        type='CheckpointHook',
        by_epoch=False,
        interval=1,
        published_keys=['meta', 'state_dict'],
    )
    tiny.runner(
        data, tmp_path, model=tiny.student(), default_hooks=dict(checkpoint=hook)
    ).train()
    (published,) = tmp_path.glob('iter_2-*.pth')
    content = read_checkpoint(published)
    assert set(content) == {'meta', 'state_dict'}
    # the comment, which stands for a config here, is no value
    assert content['meta']['cfg'] == ''
    assert tiny.same(
        content['state_dict'], read_checkpoint(tmp_path / 'iter_2.pth')['state_dict']
    )
