"""The benchmark of a distillation's training step."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from fastsegformer_mm.distillation import benchmark

ROOT = Path(__file__).resolve().parents[2]
E = ROOT / 'configs/_base_/models/fastsegformer-e.py'
CONFIG = f"""
_base_ = '{E}'
logits = dict(logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{E}',
    student_size=32,
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=logits,
        teacher_recorders=logits,
        distill_losses=dict(loss_pkl=dict(type='PKLLoss')),
        loss_forward_mappings=dict(
            loss_pkl=dict(
                preds_S=dict(from_student=True, recorder='logits'),
                preds_T=dict(from_student=False, recorder='logits')))))
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3))
train_dataloader = dict(
    dataset=dict(pipeline=[dict(type='RandomScalePaste', size=(64, 64))]))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'distill.py'
    path.write_text(CONFIG)
    return path


def load_tool():
    path = ROOT / 'tools/analysis_tools/benchmark_distill.py'
    spec = importlib.util.spec_from_file_location('benchmark_distill', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['benchmark_distill.py', *map(str, arguments)])
    load_tool().main()


def test_variants_side_by_side(config, tmp_path, monkeypatch, capsys):
    out = tmp_path / 'results' / 'bench.json'
    call(monkeypatch, config, '--variants', 'naive', 'fused', '--rounds', 3,
         '--warmup', 1, '--threads', 1, '--device', 'cpu', '--out', out)
    report = json.loads(out.read_text())
    assert report['size'] == [64, 64]
    assert report['machine']['threads'] == 1
    assert report['machine']['torch'] == torch.__version__
    naive, fused = report['variants']
    assert (naive['name'], fused['name']) == ('naive', 'fused')
    for row in (naive, fused):
        assert len(row['seconds']) == 3
        assert row['median_seconds'] == sorted(row['seconds'])[1]
        assert row['peak_bytes'] > 100 * 2**20
    # the same weights and images: rounding alone may tell them apart
    assert naive['losses']['loss'] == pytest.approx(fused['losses']['loss'], rel=1e-4)
    text = capsys.readouterr().out
    assert 'naive' in text
    assert '1.00x' in text


def test_naive_goes_through_the_teacher(config):
    cfg = Config.fromfile(config)
    ours = benchmark.Step(cfg, 'as configured', 2, (64, 64), 'cpu')
    ours()
    assert not any(p.requires_grad for p in ours.model.teacher.network.parameters())
    with pytest.MonkeyPatch.context() as patch:
        # what the naive step changes in its own process
        from fastsegformer_mm.distillation.losses import (
            nfd_loss,
            pkl_loss,
            resize_teacher_loss,
        )

        for module in (nfd_loss, pkl_loss, resize_teacher_loss):
            patch.setattr(module, 'full_precision', module.full_precision)
        naive = benchmark.Step(cfg, 'naive', 2, (64, 64), 'cpu')
        naive()
    grads = [p.grad for p in naive.model.teacher.network.parameters()]
    # all but the output norms that the decoder does not read
    assert sum(g is not None for g in grads) > 0.9 * len(grads)
    assert naive.model.teacher.network.decode_head.conv_seg.weight.grad.abs().sum() > 0


def test_noise_is_a_batch_of_the_dataloader():
    batch = benchmark.noise(2, (8, 6), 4)
    assert [x.shape for x in batch['inputs']] == [(3, 8, 6)] * 2
    assert batch['inputs'][0].dtype == torch.uint8
    label = batch['data_samples'][0].gt_sem_seg.data
    assert label.shape == (1, 8, 6)
    assert set(label.unique().tolist()) == {0, 1, 2, 3}


def test_loss_difference_is_the_largest_relative_one():
    a = benchmark.Result('a', losses={'loss_x': 2.0, 'loss_y': 1.0, 'acc': 5.0})
    b = benchmark.Result('b', losses={'loss_x': 1.0, 'loss_y': 4.0, 'acc': 1.0})
    assert b.loss_difference(a) == 3.0
    assert a.loss_difference(b) == 1.0


@pytest.mark.parametrize(
    ('pipeline', 'size'),
    [
        ([dict(type='LoadImageFromFile'), dict(type='Resize', scale=7)], (7, 7)),
        ([dict(scale=(9, 9)), dict(type='RandomCrop', crop_size=(5, 6))], (5, 6)),
    ],
)
def test_image_size(pipeline, size):
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=pipeline))))
    assert benchmark.image_size(cfg) == size


def test_image_size_of_partly_labelled_images():
    sets = {
        kind: dict(pipeline=[dict(type='RandomCrop', crop_size=size)])
        for kind, size in (('labelled', (5, 6)), ('unlabelled', (7, 8)))}
    for dataset in (sets, dict(type='RepeatDataset', times=2, dataset=sets)):
        cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
        assert benchmark.image_size(cfg) == (5, 6)


def test_no_size_anywhere():
    cfg = Config(dict(train_dataloader=dict(dataset=dict(pipeline=[dict(type='A')]))))
    with pytest.raises(ValueError, match='--size'):
        benchmark.image_size(cfg)


def test_refusals(config, monkeypatch):
    with pytest.raises(SystemExit, match="no variant 'fast'; there are: naive"):
        call(monkeypatch, config, '--variants', 'fast')
    alone = ROOT / (
        'configs/fastsegformer/fastsegformer-e_efficientformerv2-s0_1xb32-100e_'
        'neu-seg-224x224.py'
    )
    with pytest.raises(SystemExit, match='trains a EncoderDecoderWithImage'):
        call(monkeypatch, alone)


def test_a_variant_that_does_not_run_is_named(config, monkeypatch):
    with pytest.raises(SystemExit, match=r"variant 'fused' does not run.*absent\.pth"):
        call(monkeypatch, config, '--variants', 'fused', '--device', 'cpu',
             '--cfg-options', 'model.teacher_ckpt=absent.pth')


def test_a_step_that_fails_is_told(config, monkeypatch):
    # not in building it, but in the step itself
    record = 'model.distiller.loss_forward_mappings.loss_pkl.preds_S.record_idx=5'
    with pytest.raises(SystemExit, match=r'does not run.*record_idx=5'):
        call(monkeypatch, config, '--variants', 'fused', '--device', 'cpu',
             '--threads', 1, '--cfg-options', record)
