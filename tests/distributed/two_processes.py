"""Two gloo processes, and one alone, run the same trainings and tests.

Run by test_two_processes.py with an empty folder as the only argument. Each process
leaves its results there, in ROLE.pt. It has a working folder of its own, so that what
the second one writes shows, whatever library it uses. The training with all hooks has
one folder for both, as in life; there Python itself tells who opens files for writing.
"""

import os
import runpy
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS, RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch import distributed, multiprocessing

from robust_training.cpu_launchers import can_shard_on_cpu

TESTS = Path(__file__).resolve().parents[1]
CONFIGS = TESTS.parent / 'configs' / '_base_' / 'distributed'
tiny = SimpleNamespace(**runpy.run_path(str(TESTS / 'distillation' / 'tiny.py')))
ALONE, IMAGES = 'alone', 4  # images of a whole step
# proportional to the gradient: Adam would blow rounding errors up to whole steps
SGD = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9))


@HOOKS.register_module()
class Losses(Hook):
    """Every iteration's losses, and how many parameters were trained."""

    def __init__(self):
        self.found, self.trained = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.found.append({
            k: float(v) for k, v in outputs.items() if 'loss' in k})
        self.trained.append(sum(p.requires_grad for p in runner.model.parameters()))


@HOOKS.register_module()
class Images(Hook):
    """Every iteration's images, the labelled ones first."""

    def __init__(self):
        self.found = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.found.append([
            (s.metainfo['labelled'], int(Path(s.img_path).stem))
            for s in data_batch['data_samples']])


def watch_writing(folder):
    """A list that grows by each file below the folder that this process changes."""
    written = []

    def note(event, arguments):
        path = None
        if event == 'open' and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            path = arguments[0]
        elif event == 'os.rename':
            path = arguments[1]
        elif event == 'os.remove':
            path = arguments[0]
        if isinstance(path, (str, os.PathLike)) and str(path).startswith(str(folder)):
            written.append(str(path))

    sys.addaudithook(note)
    return written


def unwrapped(model):
    return model.module if is_model_wrapper(model) else model


class Process:
    """What one of the processes does.

    Args:
        folder (Path): With the data and the results of all.
        role (int | str): The rank, or ALONE.
    """

    def __init__(self, folder, role):
        self.folder, self.role = folder, role
        self.shared = folder / ('alone' if role == ALONE else 'both')
        self.written = watch_writing(self.shared)
        self.launcher = 'none' if role == ALONE else 'pytorch'
        self.batch_size = IMAGES if role == ALONE else IMAGES // 2

    def config(self, name, **changes):
        cfg = tiny.runner_cfg(
            self.folder / 'data', **{
                'work_dir': self.folder / str(self.role) / name, 'optim_wrapper': SGD,
                **changes})
        cfg.launcher = self.launcher
        cfg.experiment_name = name
        cfg.train_dataloader.batch_size = self.batch_size
        cfg.default_hooks.logger = dict(type='MainProcessLoggerHook', interval=1)
        for split in ('val', 'test'):
            cfg[f'{split}_evaluator'] = dict(type='DefectIoUMetric')
        return cfg

    def train(self, name, **changes):
        """The runner, and what the training gave."""
        losses = Losses()
        cfg = self.config(name, **changes)
        runner = RUNNERS.get(cfg.get('runner_type', 'Runner')).from_cfg(cfg)
        runner.register_hook(losses)
        runner.train()
        teacher = getattr(unwrapped(runner.model), 'teacher', None)
        return runner, dict(
            losses=losses.found, trained=losses.trained,
            wrapper=type(runner.model).__name__,
            # clones, as a test that follows may change them
            weights={
                k.removeprefix('module.'): v.clone()
                for k, v in runner.model.state_dict().items()},
            teacher=teacher and teacher.network.state_dict(),
            # rank 0 alone has any
            scores=runner.val_evaluator.metrics[0].summary)

    def plain(self):
        return self.train(
            'plain', iters=6, model=tiny.student(norm='GN'))[1]

    def distilled(self):
        """With all of this project's hooks, tested at the end."""
        runtime = Config.fromfile(CONFIGS.parent / 'default_runtime.py').default_hooks
        runtime.checkpoint.update(
            by_epoch=False, interval=1, max_keep_ckpts=-1, save_best=None)
        hooks = [
            dict(type='mmrazor.CheckTeacherHook', num_batches=2),
            dict(type='mmrazor.DistillScheduleHook', warmup=2, stop=5, by_epoch=False),
            dict(type='mmrazor.ExportStudentHook'),
            dict(type='FreezeUnfreezeHook', modules='architecture.backbone.stem',
                 unfreeze_iter=2),
            dict(type='EvaluationReportHook', on_val=True)]
        model = tiny.model_cfg(
            architecture=tiny.student(norm='GN'), allow_random_teacher=False,
            teacher_ckpt=str(self.folder / 'teacher.pth'))
        runner, found = self.train(
            'distilled', iters=6, model=model, custom_hooks=hooks,
            default_hooks=runtime.to_dict(), work_dir=self.shared / 'distilled')
        runner.test()
        return found

    def augmented(self):
        """Random transforms, seeded by the sample and not by the process."""
        loader = tiny.runner_cfg(self.folder / 'data', '').train_dataloader
        loader.sampler.shuffle = True
        loader.dataset.pipeline[-1:] = [
            dict(type='RandomScalePaste', size=(64, 64)),
            dict(type='RandomFlip', prob=0.5), dict(type='PackSegInputs')]
        return self.train(
            'augmented', iters=4, model=tiny.student(norm='GN'),
            train_dataloader=loader.to_dict(),
            custom_hooks=[dict(type='ExactResumeHook')])[1]

    def partly_labelled(self):
        """Half of each batch is labelled, in each process."""
        loader = tiny.runner_cfg(self.folder / 'data', '').train_dataloader.to_dict()
        images = loader['dataset']
        loader['dataset'] = dict(
            type='PartlyLabelledDataset', labelled=dict(images, indices=4),
            unlabelled=dict(type='UnlabelledDataset', dataset=images))
        loader['sampler'] = dict(
            type='PartlyLabelledSampler', batch_size=self.batch_size,
            labelled=self.batch_size // 2)
        network = tiny.student(norm='GN')
        network['decode_head']['loss_decode']['avg_non_ignore'] = True
        seen = Images()
        found = self.train(
            'partly_labelled', iters=6, model=network, train_dataloader=loader,
            custom_hooks=[dict(type='ExactResumeHook'), seen])[1]
        return dict(found, images=seen.found)

    def statistics(self):
        """BatchNorm, whose statistics are those of each process's own images."""
        return {
            name: self.train(
                name, iters=3, by_epoch=True, model=tiny.student(), custom_hooks=hooks
            )[1] for name, hooks in (
                ('apart', []), ('together', [dict(type='SyncBuffersHook')]))}

    def shares(self):
        """Test sets that two processes cannot share evenly."""
        metrics = [
            dict(type='DefectIoUMetric', prefix='gpu'),
            dict(type='DefectIoUMetric', prefix='cpu', collect_device='cpu'),
            dict(type='IoUMetric', prefix='stock', iou_metrics=['mIoU', 'mFscore'])]
        found = {}
        for images in (5, 7):
            cfg = self.config(f'shares{images}', model=tiny.student(norm='GN'))
            for key in ('train_dataloader', 'train_cfg', 'optim_wrapper',
                        'val_dataloader', 'val_cfg', 'val_evaluator'):
                cfg.pop(key)
            cfg.test_dataloader.dataset.indices = images
            cfg.test_dataloader.batch_size = 2
            cfg.test_evaluator = metrics
            runner = Runner.from_cfg(cfg)
            torch.manual_seed(1)
            with torch.no_grad():
                # without biases it predicts several classes
                for name, p in unwrapped(runner.model).named_parameters():
                    if not name.endswith('bias'):
                        p.normal_()
            scores = runner.test()
            first, second, _ = runner.test_evaluator.metrics
            found[images] = scores, first.confusion_matrix, second.confusion_matrix
        return found

    def sharded(self):
        """FullyShardedDataParallel; one alone has nothing to shard."""
        cfg = {}
        if self.role != ALONE:
            cfg = Config.fromfile(CONFIGS / 'fsdp.py').to_dict()
            cfg['env_cfg'] = dict(dist_cfg=dict(backend='nccl'))
            cfg['strategy']['model_wrapper']['auto_wrap_policy']['min_num_params'] = 50
        return self.train(
            'sharded', iters=3, by_epoch=True, model=tiny.student(norm='GN'), **cfg)[1]

    def sync_bn(self):
        """What a CPU says to it; one alone has ordinary BatchNorm again."""
        cfg = Config.fromfile(CONFIGS / 'sync_bn.py').to_dict()
        try:
            self.train('sync_bn', iters=1, model=tiny.student(), **cfg)
        except ValueError as error:
            return str(error)


CHECKS = ('plain', 'distilled', 'augmented', 'partly_labelled', 'statistics', 'shares',
          'sharded', 'sync_bn')


def work(index, folder, port):
    folder = Path(folder)
    role = ALONE if index == 2 else index
    Config.pretty_text = property(lambda self: '# not formatted')
    torch.set_num_threads(1)
    if role != ALONE:
        # as torchrun tells its processes
        os.environ.update(
            RANK=str(role), LOCAL_RANK=str(role), WORLD_SIZE='2',
            MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    process = Process(folder, role)
    found = {}
    for name in CHECKS:
        if name == 'sharded' and not can_shard_on_cpu():
            continue
        torch.manual_seed(0)
        init_default_scope('mmseg')
        found[name] = getattr(process, name)()
    found.update(main=is_main_process(), written=process.written)
    found['backend'] = role != ALONE and distributed.get_backend()
    torch.save(found, folder / f'{role}.pt')
    if role != ALONE:
        distributed.destroy_process_group()


if __name__ == '__main__':
    target = Path(sys.argv[1])
    init_default_scope('mmseg')
    tiny.write_data(target / 'data', train=8, val=7)
    tiny.save_teacher(target / 'teacher.pth')
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    os.chdir(target)
    # one import for all: nothing has run yet that a fork could break
    multiprocessing.start_processes(
        work, args=(str(target), port), nprocs=3, start_method='fork')
