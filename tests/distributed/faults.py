"""A small training that breaks where it is told to; configs of tests import it."""

import multiprocessing
import os
import runpy
import signal
import time
from pathlib import Path
from types import SimpleNamespace

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

TESTS = Path(__file__).resolve().parents[1]
# it registers the small network as well
tiny = SimpleNamespace(**runpy.run_path(str(TESTS / 'distillation' / 'tiny.py')))


@HOOKS.register_module()
class Faults(Hook):
    """Break a process before an iteration.

    Args:
        plan (list[tuple]): How often torchrun has restarted, the rank, the number of
            iterations done, and what to do: the name of a method.
    """

    def __init__(self, plan):
        self.plan = plan

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        restarts = int(os.environ.get('TORCHELASTIC_RESTART_COUNT', 0))
        for when, rank, done, what in self.plan:
            if (restarts, get_rank(), runner.iter) == (when, rank, done):
                getattr(self, what)()

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_loader(self):
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)

    def fail(self):
        raise ValueError('this hook fails on one rank alone')

    def hang(self):
        time.sleep(3600)


def write_config(folder, name, plan, **changes):
    """A config of the training in a folder that has data and a teacher.

    A checkpoint after each of 8 iterations, augmentation, loading by another process.
    """
    cfg = tiny.runner_cfg(
        folder / 'data', folder / name, iters=8,
        model=tiny.student(norm='GN', drop=0.2),
        custom_hooks=[
            dict(type='Faults', plan=plan), dict(type='mmseg.ExactResumeHook'),
            dict(type='mmseg.ResumeNewestHook')])
    cfg.custom_imports = dict(imports=['fastsegformer_mm', 'robust_training', 'faults'])
    cfg.default_hooks.checkpoint.type = 'mmseg.SafeCheckpointHook'
    cfg.train_dataloader.num_workers = 1
    cfg.train_dataloader.sampler.shuffle = True
    cfg.train_dataloader.dataset.pipeline.insert(2, dict(type='RandomFlip', prob=0.5))
    cfg.log_processor = dict(by_epoch=False)
    cfg.pop('experiment_name')
    cfg.merge_from_dict(changes)
    path = folder / f'{name}.py'
    # Config.dump formats for seconds
    path.write_text(
        '\n'.join(f'{key} = {value!r}' for key, value in cfg.to_dict().items()))
    return path
