"""NonFiniteLossHook in a distillation, and the replay of its file."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.non_finite.diagnosis import NonFiniteLossError
from fastsegformer_mm.engine.non_finite.replay import read_record, replay

tiny = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name('tiny.py'))))
set_up = tiny.set_up


@HOOKS.register_module(force=True)
class FeedHook(Hook):
    """Puts made-up batches in the place of those loaded; 'bad' ones have a NaN."""

    def __init__(self, seeds, before=None):
        self.seeds, self.before = seeds, before

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        seed = self.seeds[runner.iter]
        data_batch.update(tiny.batch(2, seed=abs(seed)))
        for i, sample in enumerate(data_batch['data_samples']):
            sample.set_metainfo(dict(img_path=f'{abs(seed)}-{i}.png'))
        if seed < 0:
            image = data_batch['inputs'][1].float()
            image[0, 5, 5] = math.nan
            data_batch['inputs'][1] = image
        if self.before:
            self.before(runner)


def runner(tmp_path, name, seeds, action, before=None, **changes):
    checkpoint = tmp_path / 'teacher.pth'
    if not checkpoint.exists():
        tiny.write_data(tmp_path / 'data')
        tiny.save_teacher(checkpoint)
    model = tiny.model_cfg(
        architecture=tiny.student(drop=0.3), teacher_ckpt=str(checkpoint), **changes)
    hooks = [dict(type='FeedHook', seeds=seeds, before=before),
             dict(type='NonFiniteLossHook', action=action)]
    cfg = tiny.runner_cfg(
        tmp_path / 'data', tmp_path / name, iters=len(seeds), custom_hooks=hooks,
        model=model)
    for loop in ('val', 'test'):
        for key in (f'{loop}_dataloader', f'{loop}_evaluator', f'{loop}_cfg'):
            cfg.pop(key)
    cfg.train_cfg.pop('val_interval')
    return Runner.from_cfg(cfg)


def build(**kwargs):
    return tiny.RAZOR_MODELS.build(tiny.model_cfg(
        architecture=tiny.student(drop=0.3), **kwargs))


def test_skips(tmp_path):
    found = []
    for name, seeds in (('a', [1, -2, 3]), ('b', [1, 3])):
        run = runner(tmp_path, name, seeds, 'skip')
        torch.manual_seed(1)
        run.train()
        found.append(run.model.state_dict())
    assert tiny.same(*found)
    assert any('architecture' in k for k in found[0])
    log = next((tmp_path / 'a').rglob('*.log')).read_text()
    names = ('student.decode.loss_ce', 'distill.loss_first', 'distill.loss_second',
             'distill.loss_logits')
    assert 'iteration 2 (epoch 1): ' + ', '.join(f'{n}=nan' for n in names) in log
    assert 'files: 2-0.png, 2-1.png; saved: ' in log


def test_replays_a_distillation_loss(tmp_path):
    """The warm-up's factor is as in the training, the teacher loaded again."""
    def before(runner):
        model = runner.model
        model.distill_factor = 0.5
        if runner.iter == 1:
            connector = model.distiller.connectors['first']
            connector.conv_module.conv.weight.data.fill_(3e38)

    run = runner(tmp_path, 'a', [1, 2], 'stop', before)
    torch.manual_seed(1)
    with pytest.raises(NonFiniteLossError, match=r'\): distill\.loss_first=') as error:
        run.train()
    assert 'so it is the computation: ' in str(error.value)
    content = read_record(tmp_path / 'a/non_finite/iter_2.pth')
    teacher = str(tmp_path / 'teacher.pth')
    result = replay(build(teacher_ckpt=teacher), content)
    assert result.reproduced
    assert set(content['losses']) == set(result.losses)
    for name, value in content['losses'].items():
        assert result.losses[name] == value or not math.isfinite(value)
    assert content['non_finite'] == ['distill.loss_first']
    assert math.isfinite(result.losses['distill.loss_logits'])
    assert result.origin.name == 'distiller.connectors.first.conv_module.conv'
    assert result.origin.kind == 'Conv2d'


def test_a_broken_teacher(tmp_path):
    def before(runner):
        net = runner.model.teacher.network
        net.decode_head.conv_seg.weight.data[0, 0] = math.inf

    run = runner(tmp_path, 'a', [1], 'skip', before)
    with pytest.raises(NonFiniteLossError) as error:
        run.train()
    assert ('broken before this iteration: teacher.decode_head.conv_seg.weight '
            '(1 of 32 values)') in str(error.value)


def test_replay_looks_into_the_teacher(tmp_path):
    """A teacher that overflows is named, and is not said to be the student."""
    run = runner(tmp_path, 'a', [-1], 'stop')
    with pytest.raises(NonFiniteLossError):
        run.train()
    content = read_record(tmp_path / 'a/non_finite/iter_1.pth')
    content['batch']['inputs'].nan_to_num_(0)
    checkpoint = torch.load(tmp_path / 'teacher.pth', weights_only=True)
    checkpoint['state_dict']['backbone.project.weight'].fill_(3e38)
    torch.save(checkpoint, tmp_path / 'teacher.pth')
    model = build(teacher_ckpt=str(tmp_path / 'teacher.pth'))
    result = replay(model, content)
    assert result.origin.name == 'teacher.backbone.project'
    assert result.bad_weights == []
