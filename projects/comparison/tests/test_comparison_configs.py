"""Every method of every comparison builds, learns a step and predicts."""

import math
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS

from fastsegformer_mm.distillation.comparison import read_comparison
from fastsegformer_mm.distillation.comparison.run_config import (
    digest,
    run_config,
    write_config,
)

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / 'projects/comparison/configs'
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline

COMPARISONS = sorted(FOLDER.glob('*.py'))
METHODS = [(path, name) for path in COMPARISONS
           for name in read_comparison(path).methods]
every_comparison = pytest.mark.parametrize(
    'path', COMPARISONS, ids=lambda p: p.stem)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return checks.write_data(tmp_path_factory.mktemp('data'))


def put(cfg, data):
    """A run's config on made-up images, without files of weights."""
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.num_workers, loader.persistent_workers = 0, False
        loader.dataset.data_root = str(data / 'neu')
    checks.shrink(cfg)
    if 'teacher' in cfg.model:
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    return cfg


def test_methods_are_found():
    names = {name for path, name in METHODS if 'segformer-b2' in path.stem}
    assert names == {'alone', 'pkl_nfd', 'mff_kl', 'sekd_ct', 'sekd_su', 'pixel_pair',
                     'cwd', 'dist'}


@pytest.mark.parametrize(
    ('path', 'name'), METHODS, ids=[f'{n}-{p.stem[:20]}' for p, n in METHODS])
def test_method_learns_and_predicts(path, name, data, tmp_path):
    # by way of a file, as the run's own process has it
    write_config(run_config(read_comparison(path), name, 0), tmp_path / 'config.py')
    cfg = put(Config.fromfile(tmp_path / 'config.py'), data)
    torch.manual_seed(0)
    model = MODELS.build({'_scope_': 'mmseg', **cfg.model})
    model.init_weights()
    step = checks.learn(cfg, model)
    assert math.isfinite(step.losses['loss'])
    if name == 'alone':
        assert 'decode_head.conv_seg.weight' in step.moved
        assert not step.unused
    else:
        distiller = cfg.model.distiller
        assert set(step.pairs) == set(distiller.distill_losses)
        for loss in step.pairs:
            assert 0 < step.losses[f'distill.{loss}'] < 100, loss
        connectors = {n for n, _ in model.distiller.connectors.named_parameters()}
        assert {f'distiller.connectors.{n}' for n in connectors} <= step.moved
        assert 'architecture.decode_head.conv_seg.weight' in step.moved
    checks.predict(cfg, model)
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)


@every_comparison
def test_name_and_budget_agree(path):
    comparison = read_comparison(path)
    teacher, student, rest = path.stem.split('_', 2)
    student_cfg = Config(run_config(comparison, 'alone', 0))
    for own, name in ((comparison.teacher, teacher), (comparison.student, student)):
        short = own.stem.split('_1xb')[0].replace('_mit', '')
        assert short == name
    batch, schedule = rest.split('_')[0].removeprefix('1xb').split('-')
    assert student_cfg.train_dataloader.batch_size == int(batch)
    assert student_cfg.train_cfg.max_iters == int(schedule.removesuffix('i'))
    assert comparison.student.stem.endswith(rest)
    # the teacher's checkpoint is where `mim train` leaves it
    assert comparison.teacher_ckpt == (
        f'work_dirs/{comparison.teacher.stem}/best_mIoU_iter_*.pth')
    assert len(comparison.seeds) >= 3


@every_comparison
def test_all_methods_differ_in_the_distillation_alone(path):
    comparison = read_comparison(path)
    cfgs = {name: run_config(comparison, name, 0) for name in comparison.methods}
    assert len({digest(cfg) for cfg in cfgs.values()}) == len(cfgs)
    alone = cfgs['alone']
    for name, cfg in cfgs.items():
        assert cfg.keys() == alone.keys()
        differing = {key for key in cfg if cfg[key] != alone[key]}
        assert differing <= {'model', 'custom_hooks', 'custom_imports'}, name
        if name != 'alone':
            architecture = dict(cfg['model']['architecture'])
            assert architecture.pop('_scope_') == 'mmseg'
            assert architecture == alone['model']
            # the same images at the same size: no gain of theirs is a method's
            assert 'student_size' not in cfg['model']


def test_weights_of_the_pair_for_a_cpu():
    """What the projects publish, but for the two that the notes tell of."""
    path, = (p for p in COMPARISONS if 'segformer-b2' in p.stem)
    methods = read_comparison(path).methods
    sekd = {f'loss_{k}{i}': w for k, w in (('feature', 0.125), ('texture', 0.25))
            for i in (1, 2, 3, 4)}
    expected = dict(
        pkl_nfd={'loss_pkl': 0.5, **{f'loss_nfd_stage{i}': 0.05 for i in (1, 2, 3, 4)}},
        mff_kl=dict(loss_kl=pytest.approx(0.0026031, rel=1e-4)),
        sekd_ct=sekd, sekd_su=sekd, pixel_pair=dict(loss_pixel=100.0, loss_pair=1.0),
        cwd=dict(loss_cwd=5.0), dist=dict(loss_dist=1.0))
    for name, weights in expected.items():
        losses = methods[name].distiller['distill_losses']
        assert {k: loss['loss_weight'] for k, loss in losses.items()} == weights
        if 'sekd' in name:
            # they are the project's own, under the names of the losses
            own = Config.fromfile(
                ROOT / f'projects/sekd/configs/_base_/distill/{name}.py')
            assert own.distiller.to_dict() == methods[name].distiller
    noted = {name for name, method in methods.items() if method.note}
    assert noted == {'pkl_nfd', 'mff_kl'}
