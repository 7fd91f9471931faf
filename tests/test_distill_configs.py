"""Every distillation config says what its name says, builds, and learns one step.

Inputs are 64x64 noise (128x128 for a teacher that sees more), teachers are random,
nothing is downloaded. Networks that several configs share are trained once.
"""

import copy
import itertools
import math
import re
import runpy
import shutil
from collections import Counter
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import HOOKS, MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from fastsegformer_mm.distillation.algorithms import MultiResolutionDistill

ROOT = Path(__file__).resolve().parents[1]
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline
FOLDER = ROOT / 'configs/distill'
CONFIGS = sorted(FOLDER.glob('*/*.py'))
read = cache(Config.fromfile)  # nobody changes what it returns
NAME = re.compile(
    r'(?P<method>[a-z-]+)-(?P<kd>kd[12])_(?P<teacher>[a-z0-9-]+)'
    r'_(?P<student>[a-z0-9-]+)(?P<pretrained>_in1k-pre)?_1xb(?P<batch>\d+)'
    r'-(?P<schedule>\d+[ei])_(?P<dataset>[a-z-]+)-(?P<height>\d+)x(?P<width>\d+)')
# of a network that is trained alone
PLAIN = re.compile(
    r'(?P<model>[a-z0-9-]+(_(?!in1k)[a-z0-9-]+)?)(?P<pretrained>_in1k-pre)?'
    r'_1xb\d+-\d+[ei]_(?P<dataset>[a-z-]+)-(?P<height>\d+)x(?P<width>\d+)')
DISTILLED = [p for p in CONFIGS if NAME.fullmatch(p.stem)]
ALONE = [p for p in CONFIGS if not NAME.fullmatch(p.stem)]
every_distillation = pytest.mark.parametrize('path', DISTILLED, ids=lambda p: p.stem)


def own_config(path):
    """The student's own config, the first base of a distillation's."""
    return (path.parent / Config._get_base_files(str(path))[0]).resolve()


def teacher_config(cfg):
    return Path(cfg.model.teacher).resolve()


def test_configs_are_found():
    found = Counter(p.parent.name for p in CONFIGS)
    assert found >= Counter(demo=3, mix=6, pkl_nfd=24, small=8)
    expected = set()
    for net, data in itertools.product('ep', ('1000e_navel-orange', '100e_neu-seg')):
        kinds = itertools.product(('pkl-nfd-kd1', 'pkl-nfd-kd2'), ('', '_in1k-pre'))
        for method, pretrained in (*kinds, ('pkl-kd2', ''), ('nfd-kd2', '')):
            expected.add(f'{method}_att-unet-swin-t_fastsegformer-{net}{pretrained}'
                         f'_1xb6-{data}-224x224')
    assert {p.stem for p in FOLDER.glob('pkl_nfd/*.py')} == expected
    pairs = {tuple(NAME.fullmatch(p.stem).group('method', 'teacher', 'student'))
             for p in FOLDER.glob('mix/*.py')}
    assert pairs == {
        ('pkl-nfd', 'segformer-mit-b2', 'fastsegformer-e'),
        ('pkl-nfd', 'deeplabv3plus-r50-d8', 'fastsegformer-p'),
        ('kl-nfd', 'att-unet-swin-t', 'fast-scnn'),
        ('pkl-nfd', 'pidnet-l', 'pidnet-s'),
        ('cwd', 'att-unet-swin-t', 'fastsegformer-e'),
        ('cwd', 'att-unet-swin-t', 'fastsegformer-p')}
    # what is no distillation is a teacher or student of one in its folder
    networks = {own_config(p) for p in DISTILLED} | {
        teacher_config(read(p)) for p in DISTILLED}
    assert len(DISTILLED) >= 35
    assert ALONE
    assert set(ALONE) <= networks


@every_distillation
def test_name_and_content_agree(path):
    name, cfg = NAME.fullmatch(path.stem), read(path)
    own, teacher = own_config(path), teacher_config(cfg)
    assert own.is_file()
    assert teacher.is_file()
    student, taught = (PLAIN.fullmatch(p.stem) for p in (own, teacher))
    assert student['model'].split('_')[0] == name['student']
    assert taught['model'].replace('_', '-') == name['teacher']
    assert student['pretrained'] == taught['pretrained'] == name['pretrained']
    assert student['dataset'] == taught['dataset'] == name['dataset']
    size = int(name['height']), int(name['width'])
    assert cfg.crop_size == size
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    unit = {'e': 'epochs', 'i': 'iters'}[name['schedule'][-1]]
    assert cfg.train_cfg[f'max_{unit}'] == int(name['schedule'][:-1])

    taught_size = int(taught['height']), int(taught['width'])
    if name['kd'] == 'kd1':
        assert 'student_size' not in cfg.model
        assert taught_size == size
    else:
        assert cfg.model.student_size == size
        assert taught_size > size
    kinds = set()
    for loss in cfg.model.distiller.distill_losses.values():
        if loss.type == 'PKLLoss':
            kinds.add('pkl' if loss.get('k1', 0.5) < 1 else 'kl')
        elif loss.type == 'ResizeTeacherLoss':
            kinds.add({'ChannelWiseDivergence': 'cwd'}[loss.loss.type])
        else:
            kinds.add({'NFDLoss': 'nfd'}[loss.type])
    assert kinds == set(name['method'].split('-'))
    if path.parent.name == 'pkl_nfd':
        # the paper's weights, and its seven pairs
        losses = list(cfg.model.distiller.distill_losses.values())
        nfd = dict(type='NFDLoss', loss_weight=5.0)
        pkl = dict(type='PKLLoss', tau=2.0, k1=0.5, loss_weight=0.5)
        assert losses == [nfd] * 7 * ('nfd' in kinds) + [pkl] * ('pkl' in kinds)


@every_distillation
def test_all_else_is_the_students_own(path):
    """So the exported student is tested as it was validated."""
    cfg, own = read(path), read(own_config(path))
    for key in ('val_dataloader', 'test_dataloader', 'val_evaluator', 'test_evaluator',
                'optim_wrapper', 'param_scheduler', 'train_cfg', 'val_cfg', 'test_cfg',
                'default_hooks', 'env_cfg', 'crop_size', 'default_scope'):
        assert cfg[key] == own[key], key
    architecture = dict(cfg.model.architecture)
    assert architecture.pop('_scope_') == 'mmseg'
    assert architecture == own.model
    assert cfg.custom_imports.imports == [
        'fastsegformer_mm.distillation', 'robust_training']

    # the training images are the teacher's where it sees more
    teacher = read(teacher_config(cfg))
    trained = cfg.train_dataloader
    source = teacher if 'student_size' in cfg.model else own
    assert trained.dataset.pipeline == source.train_dataloader.dataset.pipeline
    loader = own.train_dataloader
    assert trained == {**loader, 'batch_size': trained.batch_size, 'dataset': {
        **loader.dataset, 'pipeline': trained.dataset.pipeline}}
    # both networks know the same classes, and are given the same numbers
    assert teacher.train_dataloader.dataset.type == trained.dataset.type
    assert teacher.model.data_preprocessor == own.model.data_preprocessor
    assert teacher.model.decode_head.num_classes == own.model.decode_head.num_classes


@every_distillation
def test_teacher_checkpoint_is_where_the_teacher_leaves_it(path):
    cfg = read(path)
    teacher = teacher_config(cfg)
    unit = 'iter' if 'max_iters' in read(teacher).train_cfg else 'epoch'
    # `make demo` has work dirs of its own
    folder = 'demo/teacher' if path.parent.name == 'demo' else teacher.stem
    assert cfg.model.teacher_ckpt == f'work_dirs/{folder}/best_mIoU_{unit}_*.pth'


@every_distillation
def test_hooks(path):
    cfg = read(path)
    hooks = {type(h).__name__: h for h in map(HOOKS.build, cfg.custom_hooks)}
    expected = {'CheckTeacherHook', 'ExportStudentHook'}
    pretrained = bool(NAME.fullmatch(path.stem)['pretrained'])
    if pretrained:
        expected.add('FreezeUnfreezeHook')
        frozen = hooks['FreezeUnfreezeHook']
        assert frozen.modules == ('architecture.backbone',)
        # as long as where the student is trained alone
        alone, = read(own_config(path)).custom_hooks
        assert frozen.by_epoch
        assert frozen.duration == alone.unfreeze_epoch == cfg.train_cfg.max_epochs // 20
    if path.parent.name == 'demo':
        expected.add('DistillScheduleHook')
        assert 0 < hooks['DistillScheduleHook'].warmup < cfg.train_cfg.max_iters
    assert set(hooks) == expected
    init_cfg = cfg.model.architecture.backbone.get('init_cfg')
    assert (init_cfg is not None) == pretrained
    check = hooks['CheckTeacherHook']
    if check.num_batches:
        seen = check.pipeline or cfg.val_dataloader.dataset.pipeline
        teacher = read(teacher_config(cfg))
        assert seen == teacher.val_dataloader.dataset.pipeline


@every_distillation
def test_at_most_three_levels_of_inheritance(path):
    assert checks.depth(path) <= 3


def noise(side, classes=4):
    generator = torch.Generator().manual_seed(0)

    def draw(high, channels, dtype):
        shape = (channels, side, side)
        return torch.randint(high, shape, generator=generator).to(dtype)

    samples = [SegDataSample(
        gt_sem_seg=PixelData(data=draw(classes, 1, torch.long)),
        gt_edge_map=PixelData(data=draw(2, 1, torch.long))) for _ in range(2)]
    return {'inputs': [draw(256, 3, torch.uint8) for _ in samples],
            'data_samples': samples}


class Step:
    """One training step of a distillation, and what was seen on the way."""

    def __init__(self, model):
        torch.manual_seed(0)
        multi_resolution = 'student_size' in model
        if multi_resolution:
            model.student_size = (64, 64)
        model = MODELS.build(model).train()
        assert type(model) is MultiResolutionDistill
        distiller = model.distiller
        self.sources = self._sources(model)
        self.calls, self.pairs, self.connectors = {}, {}, []
        for name, loss in distiller.distill_losses.items():
            loss.register_forward_pre_hook(
                self._watch(name, distiller), with_kwargs=True)
        for name, connector in distiller.connectors.items():
            connector.register_forward_hook(
                lambda _, inputs, out, name=name: self.connectors.append(
                    (name, inputs[0].shape[1], out.shape[1])))
        teacher = {k: v.clone() for k, v in model.teacher.network.state_dict().items()}
        before = {k: v.detach().clone() for k, v in model.named_parameters()}

        optim_wrapper = build_optim_wrapper(
            model, dict(optimizer=dict(type='Adam', lr=1e-3)))
        batch = model.data_preprocessor(
            noise(128 if multi_resolution else 64), training=True)
        losses = model(**batch, mode='loss')
        total, logs = model.parse_losses(losses)
        # no reference to the networks may stay: this object is kept
        self.losses = {k: float(v) for k, v in logs.items()}
        optim_wrapper.backward(total)
        self.unused = [n for n, p in model.named_parameters()
                       if p.requires_grad and p.grad is None]
        optim_wrapper.step()
        self.moved = {
            k for k, v in model.named_parameters() if not torch.equal(v, before[k])}
        self.finite = all(p.isfinite().all() for p in model.parameters())
        self.teacher_unchanged = all(
            torch.equal(v, teacher[k])
            for k, v in model.teacher.network.state_dict().items())

    @staticmethod
    def _sources(model):
        """Kinds of the modules that are recorded."""
        found = []
        for network, recorders in (
                (model.architecture, model.distiller.student_recorders),
                (model.teacher.network, model.distiller.teacher_recorders)):
            for recorder in recorders.recorders.values():
                found.append(type(network.get_submodule(recorder.source)).__name__)
        return found

    def _watch(self, name, distiller):
        def hook(module, args, kwargs):
            assert not args
            self.pairs[name] = kwargs['preds_S'].shape, kwargs['preds_T'].shape
            for role in ('student', 'teacher'):
                recorders = getattr(distiller, f'{role}_recorders').recorders
                for key, recorder in recorders.items():
                    self.calls[role, key] = len(recorder.data_buffer)
        return hook


@cache
def cached_step(key):
    return Step(STEPS[key])


STEPS = {}


def step_of(cfg):
    """The training step; data sets, schedules and weights' files do not matter."""
    model = copy.deepcopy(cfg.model)
    model.teacher = ConfigDict(_scope_='mmseg', **read(model.teacher).model)
    model.update(teacher_ckpt=None, allow_random_teacher=True)
    for network in (model.architecture, model.teacher):
        network.backbone.pop('init_cfg', None)
    key = repr(model)
    STEPS[key] = model
    return cached_step(key)


def check_step(cfg):
    step = step_of(cfg)
    distiller = cfg.model.distiller
    # every recorder's source is there, and called once in training
    recorded = [(role, key) for role in ('student', 'teacher')
                for key in distiller[f'{role}_recorders']]
    assert len(step.sources) == len(recorded) > 0
    assert step.calls == dict.fromkeys(recorded, 1)
    # every loss has its pair, every connector is used once and changes channels
    assert set(step.pairs) == set(distiller.distill_losses)
    for student, teacher in step.pairs.values():
        assert student[:2] == teacher[:2]
    expected = [(name, c.in_channel, c.out_channel)
                for name, c in distiller.get('connectors', {}).items()]
    assert sorted(step.connectors) == sorted(expected)
    assert all(i != o for _, i, o in expected)
    assert all(c.act_cfg is None for c in distiller.get('connectors', {}).values())

    for name in distiller.distill_losses:
        assert 0 < step.losses[f'distill.{name}'] < 1e4
    assert math.isfinite(step.losses['loss'])
    assert step.finite
    assert step.teacher_unchanged
    # several GPUs have to be told of parameters without gradient
    unused = cfg.get('find_unused_parameters', False)
    assert bool(step.unused) == unused, step.unused
    # these are known: the output norms of stages 1 and 3
    assert {n.rsplit('.', 1)[0] for n in step.unused} == (
        {f'architecture.backbone.norm{i}' for i in (0, 4)} if unused else set())
    assert 'architecture.decode_head.conv_seg.weight' in step.moved
    for name, *_ in expected:
        assert f'distiller.connectors.{name}.conv_module.conv.weight' in step.moved


@every_distillation
def test_learns_one_step(path):
    check_step(read(path))


@pytest.mark.parametrize('path', ALONE, ids=lambda p: p.stem)
def test_networks_of_these_folders_learn_one_step(path):
    cfg = read(path)
    model = MODELS.build({'_scope_': 'mmseg', **cfg.model}).train()
    model.init_weights()
    expected = {'att-unet_swin-half': 13_881_794,
                'fastsegformer-e_efficientformerv2-s0': 5_013_044,
                'fastsegformer-p_poolformer-s12': 14_891_940}
    name = PLAIN.fullmatch(path.stem)
    assert sum(p.numel() for p in model.parameters()) == expected[name['model']]
    assert cfg.crop_size == (int(name['height']), int(name['width']))
    loss, _ = model.parse_losses(
        model(**model.data_preprocessor(noise(64), training=True), mode='loss'))
    loss.backward()
    unused = any(p.grad is None for p in model.parameters())
    assert unused == cfg.get('find_unused_parameters', False)


def test_pretrained_student_takes_its_weights(tmp_path):
    path, = FOLDER.glob('pkl_nfd/*kd1*fastsegformer-p_in1k-pre*neu-seg*.py')
    cfg = Config.fromfile(path)
    assert cfg.model.architecture.backbone.init_cfg.type == 'Pretrained'
    remaining = {**cfg.model.architecture.backbone, 'init_cfg': None}
    official = {k: v for k, v in MODELS.build(
        {'_scope_': 'mmseg', **remaining}).state_dict().items()
        if not k.startswith('norm')}
    cfg.model.architecture.backbone.init_cfg.checkpoint = str(tmp_path / 'p.pth.tar')
    torch.save(official, tmp_path / 'p.pth.tar')
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    model = MODELS.build(cfg.model)
    key = 'network.6.1.mlp.fc2.weight'
    assert not torch.equal(model.architecture.backbone.state_dict()[key], official[key])
    model.init_weights()
    loaded = model.architecture.backbone.state_dict()
    assert len(official) > 100
    for key, value in official.items():
        assert torch.equal(loaded[key], value), key


def test_example_of_the_readme(tmp_path):
    """The fifteen lines, put where the README puts them."""
    text = (FOLDER / 'README.md').read_text()
    example, = re.findall(r'```python\n(.*?)```', text, re.S)
    name, = re.findall(r'`configs/distill/(mine/[^`]+\.py)`', text)
    assert NAME.fullmatch(Path(name).stem)
    assert len(example.splitlines()) <= 20
    shutil.copytree(ROOT / 'configs', tmp_path / 'configs')
    path = tmp_path / 'configs/distill' / name
    path.parent.mkdir()
    path.write_text(example)
    test_name_and_content_agree(path)
    test_all_else_is_the_students_own(path)
    test_teacher_checkpoint_is_where_the_teacher_leaves_it(path)
    check_step(read(path))
