"""A comparison of tiny networks, in files; test files read it by runpy.

Only parts of MMSegmentation and MMRazor, which a process of its own knows too.
"""

import pprint
import runpy
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.evaluation import IoUMetric  # noqa: F401 - for test files

from fastsegformer_mm.distillation.comparison import read_comparison, worker
from fastsegformer_mm.distillation.comparison.compare import Bench, compare
from fastsegformer_mm.distillation.comparison.results import LOG

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / 'tiny.py')))
set_up = tiny.set_up
write_data = tiny.write_data


def network(width):
    """A U-Net of two levels; drop-out, so that random numbers matter."""
    model = tiny.network((4, 8), drop=0.2)
    del model['_scope_']
    model['backbone'] = dict(
        type='UNet', base_channels=width, num_stages=2, strides=(1, 1),
        enc_num_convs=(1, 1), dec_num_convs=(1,), downsamples=(True,),
        enc_dilations=(1, 1), dec_dilations=(1,))
    model['decode_head']['in_channels'] = width
    return model


def own_config(data, width, iters):
    """A config of a student or a teacher: Adam, a test at the end."""
    cfg = tiny.runner_cfg(data, 'unused', iters=iters, model=network(width)).to_dict()
    for key in ('work_dir', 'experiment_name', 'randomness'):
        del cfg[key]
    for split in ('train', 'val', 'test'):
        for transform in cfg[f'{split}_dataloader']['dataset']['pipeline']:
            if transform['type'] == 'LoadAnnotations':
                transform['reduce_zero_label'] = False
    small = dict(type='RandomResize', scale=(32, 32), ratio_range=(0.5, 1.0))
    crop = dict(type='RandomCrop', crop_size=(16, 16))
    cfg['train_dataloader']['dataset']['pipeline'][2:2] = [small, crop]
    cfg['train_dataloader']['sampler']['shuffle'] = True
    cfg['custom_imports'] = dict(imports=['fastsegformer_mm'])
    cfg['default_hooks'].update(
        logger=dict(type='LoggerHook', interval=100),
        checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=100),
        resume_newest=dict(type='ResumeNewestHook'),
        exact_resume=dict(type='ExactResumeHook'))
    return cfg


def logits(**loss):
    """A distiller of one pair, the logits."""
    recorder = dict(logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
    return dict(
        type='ConfigurableDistiller', student_recorders=recorder,
        teacher_recorders=recorder, distill_losses=dict(loss_logits=loss),
        loss_forward_mappings=dict(loss_logits=tiny.pair('logits')))


def features():
    """A distiller of the backbones' maps, by a connector that learns."""
    recorder = dict(maps=dict(type='ModuleOutputs', source='backbone'))
    return dict(
        type='ConfigurableDistiller', student_recorders=recorder,
        teacher_recorders=recorder,
        connectors=dict(wide=dict(
            type='ConvModuleConnector', in_channel=4, out_channel=6, act_cfg=None)),
        distill_losses=dict(loss_maps=dict(type='NFDLoss')),
        loss_forward_mappings=dict(loss_maps=tiny.pair('maps', 'wide', data_idx=1)))


METHODS = dict(
    kl=dict(
        title='KL', reference='https://example.org/kl', note='ten times its weight',
        distiller=logits(type='PKLLoss', k1=1.0), weights=dict(loss_logits=10.0)),
    nfd=dict(distiller=features(), weights=dict(loss_maps=5.0)))


# what all trainings have
OFTEN = dict(default_hooks=dict(checkpoint=dict(interval=2, max_keep_ckpts=1)))


def write(path, **content):
    path.write_text(''.join(
        f'{key} = {pprint.pformat(value, sort_dicts=False)}\n'
        for key, value in content.items()))
    return path


def write_case(folder, iters=4, teacher=True, **changes):
    """Data, the configs of a student, a teacher and a comparison; its path."""
    data = folder / 'data'
    if not data.exists():
        tiny.write_data(data)
    content = dict(
        student=str(write(folder / 'small.py', **own_config(data, 4, iters))),
        teacher=str(write(folder / 'big.py', **own_config(data, 6, iters))),
        teacher_ckpt=str(folder / 'teacher.pth'), methods=METHODS, seeds=[0, 1],
        cfg=OFTEN)
    if teacher:
        save_teacher(folder / 'teacher.pth')
    return write(folder / 'pair.py', **{**content, **changes})


def save_teacher(path, seed=0):
    torch.manual_seed(seed)
    net = tiny.MODELS.build(network(6))
    net.init_weights()
    tiny.give_history(net)
    torch.save(dict(
        meta=dict(dataset_meta=dict(classes=tiny.CLASSES)),
        state_dict=net.state_dict()), path)


def bench(path, out='out', **kwargs):
    return Bench(read_comparison(path), path.parent / out, **kwargs)


class Here:
    """Stands for a run's process: the run is made at once, in this one."""

    started: list = []

    def __init__(self, run, threads):
        self.started.append(run.name)
        # of runs that begin in the same second, which share nothing elsewhere
        for manager in (MessageHub, MMLogger, Visualizer):
            manager._instance_dict.clear()
        try:
            worker.run(run.folder)
            self.code = 0
        except Exception as error:
            (run.folder / LOG).write_text(f'first line\n{error}\n')
            self.code = 1

    def poll(self):
        return self.code

    def stop(self):
        pass


def go(bench, methods=None, seeds=None, start=Here, **kwargs):
    """The comparison, made in this process; the outcome and what was said."""
    said, Here.started = [], []
    outcome = compare(
        bench, list(methods or bench.comparison.methods),
        list(bench.comparison.seeds if seeds is None else seeds), threads=1,
        say=said.append, start=start, **kwargs)
    return outcome, said


class Interrupt(BaseException):
    """A kill, for a run that is made in this process."""


def stop_at(monkeypatch, iteration):
    """Let any training be killed after so many iterations."""
    step = Runner.call_hook

    def call_hook(self, fn_name, **kwargs):
        if fn_name == 'before_train_iter' and self.iter == iteration:
            raise Interrupt
        step(self, fn_name, **kwargs)

    monkeypatch.setattr(Runner, 'call_hook', call_hook)


def watch_iterations(monkeypatch):
    """The numbers of all iterations that are trained from now on."""
    step, found = Runner.call_hook, []

    def call_hook(self, fn_name, **kwargs):
        if fn_name == 'before_train_iter':
            found.append(self.iter)
        step(self, fn_name, **kwargs)

    monkeypatch.setattr(Runner, 'call_hook', call_hook)
    return found
