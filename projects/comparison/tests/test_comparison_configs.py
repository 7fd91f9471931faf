"""Every method of every comparison builds, learns a step and predicts."""

import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS

from fastsegformer_mm.distillation.comparison import read_comparison
from fastsegformer_mm.distillation.comparison.run_config import (
    chosen_on_test,
    digest,
    run_config,
    write_config,
)

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / 'projects/comparison/configs'
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline

COMPARISONS = sorted(FOLDER.glob('*.py'))
# those of _base_/logits.py are tried at two resolutions, and what all methods have with
# unlabelled images once
LOGITS = Config.fromfile(FOLDER / '_base_/logits.py').methods
METHODS = [(path, name) for path in COMPARISONS
           for name in read_comparison(path).methods
           if name not in ('alone_equal_time', *LOGITS) and (
               '10pct' not in path.stem
               or name in ('no_teacher@unlabelled', 'kl_standardised@unlabelled'))]
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
        for dataset in checks.data_sets(loader):
            dataset.data_root = str(data / 'neu')
            dataset.pop('indices', None)
    if 'student_size' in cfg.model:
        cfg.model.student_size = (64, 64)
        checks.shrink(cfg, 96)
    else:
        checks.shrink(cfg)
    if 'teacher' in cfg.model:
        cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    return cfg


def test_methods_are_found():
    logits = {'pkl', 'kl_standardised', 'mff_kl', 'cwd', 'dist'}
    maps = {'pkl_nfd', 'pkl_nfd_light', 'pkl_nfd_balanced', 'sekd_ct', 'pixel_pair'}
    controls = {'alone', 'alone_equal_time'}
    of_e = {f'{name}@labelled' for name in ('no_teacher', *logits, *maps)}
    assert {path.stem.split('_1xb8')[0] + path.stem[-14:-8]: {*read_comparison(
        path).methods} for path in COMPARISONS} == {
        'segformer-b2_segformer-b0eu-seg': {
            *controls, *logits, 'pkl_nfd', 'sekd_ct', 'sekd_su', 'pixel_pair'},
        'att-unet-swin-half_fastsegformer-eeu-seg': controls | of_e,
        'att-unet-swin-half_fastsegformer-e-10pct': controls | of_e | {
            name.replace('@', '@un') for name in of_e}}


@pytest.mark.parametrize(
    ('path', 'name'), METHODS, ids=[f'{n}-{p.stem[:20]}' for p, n in METHODS])
def test_method_learns_and_predicts(path, name, data, tmp_path):
    # by way of a file, as the run's own process has it
    write_config(run_config(read_comparison(path), name, 0), tmp_path / 'config.py')
    cfg = put(Config.fromfile(tmp_path / 'config.py'), data)
    torch.manual_seed(0)
    model = MODELS.build({'_scope_': 'mmseg', **cfg.model})
    model.init_weights()
    control = not read_comparison(path).methods[name].distiller
    if control and 'distiller' in cfg.model:
        # what DistillScheduleHook sets before the first step
        model.distillation_stopped = True
    step = checks.learn(cfg, model)
    assert math.isfinite(step.losses['loss'])
    if control:
        head = 'decode_head.conv_seg.weight'
        assert {head, f'architecture.{head}'} & step.moved
        assert not step.pairs
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
    teacher, student, rest = path.stem.replace('-10pct', '').split('_', 2)
    student_cfg = Config(run_config(comparison, 'alone', 0))
    for own, name in ((comparison.teacher, teacher), (comparison.student, student)):
        assert {*name.split('-')} <= {*re.split('[-_]', own.stem)}
    batch, schedule = rest.split('_')[0].removeprefix('1xb').split('-')
    assert student_cfg.train_dataloader.batch_size == int(batch)
    assert student_cfg.train_cfg.max_iters == int(schedule.removesuffix('i'))
    assert comparison.student.stem.endswith(rest)
    # the teacher's checkpoint is where `mim train` leaves it, or is made here
    assert comparison.teacher_ckpt in (
        None, f'work_dirs/{comparison.teacher.stem}/best_mIoU_iter_*.pth')
    assert len(comparison.seeds) >= 3
    # the teacher has the labels and the validations of the student
    teacher_cfg = Config(run_config(comparison, 'teacher', 0))
    for key in ('data_root', 'data_prefix', 'indices'):
        assert teacher_cfg.train_dataloader.dataset.get(
            key) == student_cfg.train_dataloader.dataset.get(key)
    assert teacher_cfg.custom_hooks == student_cfg.custom_hooks
    for cfg in (teacher_cfg, student_cfg):
        assert cfg.train_cfg.val_interval == 100
        assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
        assert not chosen_on_test(cfg)


@every_comparison
def test_all_methods_differ_in_the_distillation_alone(path):
    """Each from its control, and controls from the student alone by their images."""
    comparison = read_comparison(path)
    cfgs = {name: run_config(comparison, name, 0) for name in comparison.methods}
    alone = cfgs['alone']
    # equal time, before it is measured
    assert cfgs.pop('alone_equal_time') == alone
    assert len({digest(cfg) for cfg in cfgs.values()}) == len(cfgs)
    for name, cfg in cfgs.items():
        method = comparison.methods[name]
        control = cfgs[method.control]
        differing = {key for key in cfg if cfg[key] != control.get(key)}
        parts = {'model', 'custom_hooks', 'custom_imports'}
        if method.distiller is None:
            assert differing <= parts | {'train_dataloader'}, name
            continue
        assert differing <= parts, name
        architecture = dict(cfg['model']['architecture'])
        assert architecture.pop('_scope_') == 'mmseg'
        if method.control == 'alone':
            # the same images at the same size: no gain of theirs is a method's
            assert architecture == alone['model']
            assert 'student_size' not in cfg['model']
        else:
            assert control['model'] == {
                **cfg['model'], 'distiller': control['model']['distiller']}
            # but for the mean over the labelled pixels
            architecture['decode_head']['loss_decode'].pop('avg_non_ignore', None)
            assert architecture == alone['model']
            assert cfg['model']['student_size'] == (112, 112)


def test_images_with_and_without_labels():
    path, = (p for p in COMPARISONS if '10pct' in p.stem)
    comparison = read_comparison(path)
    loader = run_config(comparison, 'pkl@unlabelled', 0)['train_dataloader']
    assert loader['batch_sampler']['labelled'] == 4
    assert loader['batch_size'] == 8
    data = loader['dataset']
    data['unlabelled'] = data['unlabelled']['dataset']
    labelled, unlabelled = (
        data[kind].pop('indices') for kind in ('labelled', 'unlabelled'))
    assert len(labelled) == 221
    assert sorted(labelled + unlabelled) == list(range(2205))
    assert data['labelled'] == data['unlabelled']
    own = run_config(comparison, 'pkl@labelled', 0)['train_dataloader']
    assert own['dataset'].pop('indices') == labelled
    assert own['dataset'] == data['labelled']
    assert own['batch_size'] == 8


def test_weights_of_the_pairs_for_a_cpu():
    """What the projects publish, but for those that the notes tell of."""
    stages = (1, 2, 3, 4)
    sekd = {f'loss_{k}{i}': w for k, w in (('feature', 0.125), ('texture', 0.25))
            for i in stages}
    both = dict(
        cwd=dict(loss_cwd=5.0), dist=dict(loss_dist=None), pkl=dict(loss_pkl=0.5),
        kl_standardised=dict(loss_kl=None),
        pixel_pair=dict(loss_pixel=100.0, loss_pair=1.0))
    pairs = [*(f'stage{i}' for i in stages), 'pyramid', 'fusion', 'branch']
    expected = {
        'segformer-b2': dict(
            both, sekd_ct=sekd, sekd_su=sekd, mff_kl=dict(loss_kl=0.0026031),
            pkl_nfd={'loss_pkl': 0.5, **{f'loss_nfd_stage{i}': 0.05 for i in stages}}),
        'fastsegformer-e_1xb8-300i_neu-seg-112': dict(
            both, mff_kl=dict(loss_kl=1.62694e-4),
            sekd_ct={f'loss_feature{i}': 0.125 for i in stages},
            **{name: {'loss_pkl': 0.5, **{f'loss_nfd_{pair}': w for pair in pairs}}
               for name, w in (('pkl_nfd', 5.0), ('pkl_nfd_balanced', 5.0),
                               ('pkl_nfd_light', 0.05))})}
    for part, weights in expected.items():
        path, = (p for p in COMPARISONS if part in p.stem)
        found = {name.split('@')[0]: m for name, m in
                 read_comparison(path).methods.items() if m.distiller}
        assert {name: {k: loss.get('loss_weight') for k, loss in m.distiller[
            'distill_losses'].items()} for name, m in found.items()} == {
            name: {k: w and pytest.approx(w, rel=1e-4) for k, w in of.items()}
            for name, of in weights.items()}
        noted = {name for name, method in found.items() if method.note}
        assert noted >= {'mff_kl', 'kl_standardised'}
        assert not noted & {'pkl', 'cwd', 'dist', 'pixel_pair', 'sekd_su'}
