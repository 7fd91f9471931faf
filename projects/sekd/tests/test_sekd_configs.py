"""Every config of SEKD says what its name says, builds, and learns one step.

Data sets are made up, inputs 64x64, teachers random, nothing is downloaded.
"""

import re
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import PolyLR, build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from fastsegformer_mm.distillation.algorithms import MultiResolutionDistill
from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.student import export_student
from fastsegformer_mm.engine.checkpoint.write import write_checkpoint

ROOT = Path(__file__).resolve().parents[3]
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline
FOLDER = ROOT / 'projects/sekd/configs'
CONFIGS = sorted(p for p in FOLDER.glob('*/*.py') if p.parent.name != '_base_')
NAME = re.compile(
    r'((?P<method>sekd(-ct|-su)?)_segformer-mit-(?P<teacher>b[23])_)?'
    r'segformer[_-]mit-(?P<network>b[0-3])(?P<pretrained>_in1k-pre)?'
    r'_1xb(?P<batch>\d+)-(?P<schedule>\d+[ei])'
    r'_(?P<dataset>[a-z0-9-]+)-(?P<height>\d+)x(?P<width>\d+)')
# folder: teacher, data set, its type, classes
SETS = {
    'cityscapes': ('b2', 'cityscapes', 'CityscapesDataset', 19),
    'pascal_voc12': ('b2', 'voc12', 'PascalVOCDataset', 21),
    'crops': ('b3', 'my-crops', 'BaseSegDataset', 3),
    'neu_seg': ('b2', 'neu-seg', 'NEUSegDataset', 4),
    'small': ('b2', 'neu-seg', 'NEUSegDataset', 4)}
# of four classes, as MMSegmentation's modules give them
PARAMETERS = {'b0': 3_716_196, 'b2': 24_724_164, 'b3': 44_600_004}
# SEKD's weight of all four stages
FEATURES = {'sekd': ('ScaledAlignmentLoss', 0.2),
            'sekd-su': ('MaskedReconstructionLoss', 0.5),
            'sekd-ct': ('ContextAlignmentLoss', 0.5)}
SMALL = 'segformer-mit-b2_segformer-mit-b0_1xb8-300i_neu-seg-112x112'
read = cache(Config.fromfile)  # nobody changes what it returns
name_of = cache(lambda path: NAME.fullmatch(path.stem))
DISTILLED = [p for p in CONFIGS if name_of(p)['method']]
every_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
every_distillation = pytest.mark.parametrize('path', DISTILLED, ids=lambda p: p.stem)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return checks.write_data(tmp_path_factory.mktemp('data'))


def own_config(path):
    """The student's own config, the first base of a distillation's."""
    return (path.parent / Config._get_base_files(str(path))[0]).resolve()


def test_configs_are_found():
    found = {f: [name_of(p) for p in CONFIGS if p.parent.name == f] for f in SETS}
    assert len(CONFIGS) == sum(map(len, found.values())) == 25
    assert len(DISTILLED) == 15
    for folder, names in found.items():
        teacher, dataset, *_ = SETS[folder]
        kinds = {(n['method'], n['teacher'], n['network'], n['dataset']) for n in names}
        assert kinds == {
            (None, None, 'b0', dataset), (None, None, teacher, dataset),
            *((method, teacher, 'b0', dataset) for method in FEATURES)}


@every_config
def test_name_and_content_agree(path):
    cfg, name = read(path), name_of(path)
    *_, kind, classes = SETS[path.parent.name]
    assert cfg.crop_size == (int(name['height']), int(name['width']))
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    for split in ('train', 'val', 'test'):
        assert cfg[f'{split}_dataloader'].dataset.type == kind
    pipeline = cfg.train_dataloader.dataset.pipeline
    sizes = [t.get('size') or t.get('crop_size') for t in pipeline]
    assert [s for s in sizes if s] == [cfg.crop_size]
    unit = {'e': 'epochs', 'i': 'iters'}[name['schedule'][-1]]
    assert cfg.train_cfg[f'max_{unit}'] == int(name['schedule'][:-1])
    network = cfg.model.get('architecture', cfg.model)
    assert network.decode_head.num_classes == classes
    assert bool(name['pretrained']) == ('init_cfg' in network.backbone)
    if name['pretrained']:
        assert network.backbone.init_cfg.checkpoint.startswith(
            'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
            f'mit_{name["network"]}_')
        # as ImageNet's images were
        assert network.data_preprocessor.mean == [123.675, 116.28, 103.53]
        assert network.data_preprocessor.std == [58.395, 57.12, 57.375]
    else:
        assert network.data_preprocessor.std == [255, 255, 255]


@every_distillation
def test_distillation_is_the_papers_and_else_the_students_own(path):
    cfg, own, name = read(path), read(own_config(path)), name_of(path)
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader',
                'val_evaluator', 'test_evaluator', 'optim_wrapper', 'param_scheduler',
                'train_cfg', 'default_hooks', 'crop_size'):
        assert cfg[key] == own[key], key
    architecture = dict(cfg.model.architecture)
    assert architecture.pop('_scope_') == 'mmseg'
    assert architecture == own.model
    assert name_of(own_config(path))['network'] == 'b0'
    assert cfg.custom_imports.imports == [
        'fastsegformer_mm.distillation', 'sekd', 'robust_training']
    assert [h.type for h in cfg.custom_hooks] == [
        'mmrazor.CheckTeacherHook', 'mmrazor.ExportStudentHook']

    teacher = Path(cfg.model.teacher)
    assert teacher.resolve().parent == path.parent
    assert name_of(teacher)['network'] == name['teacher']
    assert read(teacher).train_dataloader == own.train_dataloader
    unit = 'iter' if 'max_iters' in cfg.train_cfg else 'epoch'
    assert cfg.model.teacher_ckpt == (
        f'work_dirs/{teacher.stem}/best_mIoU_{unit}_*.pth')

    kind, weight = FEATURES[name['method']]
    assert cfg.model.distiller.distill_losses == {
        **{f'loss_feature{i}': dict(type=kind, loss_weight=weight / 4)
           for i in (1, 2, 3, 4)},
        **{f'loss_texture{i}': dict(type='TextureLoss', loss_weight=0.25)
           for i in (1, 2, 3, 4)}}


@every_config
def test_trains_and_predicts(path, data):
    step, name = checks.check(path, data), name_of(path)
    network = getattr(step.model, 'architecture', step.model)
    classes = SETS[path.parent.name][-1]
    last = network.decode_head.conv_seg.in_channels + 1
    assert sum(p.numel() for p in network.parameters()) == (
        PARAMETERS[name['network']] + (classes - 4) * last)
    first, _ = next(network.backbone.named_parameters())
    prefix = 'architecture.' if name['method'] else ''
    assert {f'{prefix}backbone.{first}',
            f'{prefix}decode_head.conv_seg.weight'} <= step.moved
    if not name['method']:
        return
    model = step.model
    assert type(model) is MultiResolutionDistill
    # what is recorded are the stages and the patch embeddings, of both
    for net, recorders in (
            (network, model.distiller.student_recorders),
            (model.teacher.network, model.distiller.teacher_recorders)):
        kinds = [type(net.get_submodule(r.source)).__name__
                 for r in recorders.recorders.values()]
        assert kinds == ['MixVisionTransformer'] + ['PatchEmbed'] * 4
    taught = sum(p.numel() for p in model.teacher.network.parameters())
    assert taught == PARAMETERS[name['teacher']] + (classes - 4) * last
    for i, (channels, side) in enumerate(zip((64, 128, 320, 512), (16, 8, 4, 2)), 1):
        shapes = step.pairs[f'loss_feature{i}']
        assert set(shapes.values()) == {(2, channels, side, side)}
        shapes = step.pairs[f'loss_texture{i}']
        assert set(shapes) == {'preds_S', 'preds_T', 'size_S', 'size_T'}
        assert shapes['preds_S'] == shapes['preds_T'] == (2, side**2, channels)


def tiny_distillation(path=FOLDER / f'small/sekd-ct_{SMALL}.py', **changes):
    """A distillation with one layer a stage, in both networks."""
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
    cfg.model.teacher = Config.fromfile(cfg.model.teacher).model
    for network in (cfg.model.architecture, cfg.model.teacher):
        network.backbone.num_layers = [1, 1, 1, 1]
        network._scope_ = 'mmseg'
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    torch.manual_seed(0)
    return MODELS.build(cfg.model).train()


def losses_on(model, height, width):
    generator = torch.Generator().manual_seed(0)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=torch.randint(
        4, (1, height, width), generator=generator))) for _ in range(2)]
    images = torch.rand(2, 3, height, width, generator=generator)
    return model(images, samples, mode='loss')


def test_images_that_are_not_square():
    model = tiny_distillation()
    sizes = []
    for i in (1, 2, 3, 4):
        model.distiller.distill_losses[f'loss_texture{i}'].register_forward_pre_hook(
            lambda _, args, kwargs: sizes.append((kwargs['size_S'], kwargs['size_T'])),
            with_kwargs=True)
    losses = losses_on(model, 64, 96)
    assert all(v.isfinite() and v > 0 for v in losses.values())
    assert [tuple(map(tuple, s)) for s in sizes] == [
        ((h, w),) * 2 for h, w in ((16, 24), (8, 12), (4, 6), (2, 3))]


def test_exported_student_is_a_plain_segformer(tmp_path):
    model = tiny_distillation()
    write_checkpoint(
        dict(meta={}, state_dict=model.state_dict()), tmp_path / 'distilled.pth')
    student = export_student(tmp_path / 'distilled.pth', tmp_path / 'student.pth')
    own = read(own_config(FOLDER / f'small/sekd-ct_{SMALL}.py')).model.copy()
    own.backbone = {**own.backbone, 'num_layers': [1, 1, 1, 1]}
    plain = MODELS.build(own)
    plain.load_state_dict(read_checkpoint(student)['state_dict'], strict=True)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        logits = [net.eval()(image, mode='tensor')
                  for net in (plain, model.architecture)]
    assert torch.equal(*logits)


def test_window_before_the_adapters(tmp_path):
    """As the README has it: the adapters hide it, the loss does not."""
    text = (FOLDER.parent / 'README.md').read_text()
    example, = re.findall(r'```python\n(.*?)```', text, re.S)
    assert f"'./sekd-su_{SMALL}.py'" in example
    path = tmp_path / 'example.py'
    path.write_text(example.replace("'./", f"'{FOLDER}/small/"))
    model = tiny_distillation(path)
    connectors, losses = model.distiller.connectors, model.distiller.distill_losses
    for i in (1, 2, 3, 4):
        assert connectors[f'stage{i}'].mask_ratio == 0.3
        assert losses[f'loss_feature{i}'].mask_ratio == 0
        assert losses[f'loss_feature{i}'].loss_weight == 0.125
    losses = losses_on(model, 64, 64)
    assert all(v.isfinite() and v > 0 for v in losses.values())


def test_pretrained_student_as_the_readme_has_it(tmp_path):
    """By `--cfg-options`, which name a file here."""
    text = (FOLDER.parent / 'README.md').read_text()
    keys = re.findall(
        r'model\.(architecture\.backbone\.init_cfg\.(?:type|checkpoint))=', text)
    keys = sorted(set(keys))
    assert [k.rpartition('.')[2] for k in keys] == ['checkpoint', 'type']
    path = str(tmp_path / 'mit_b0.pth')
    model = tiny_distillation(**dict(zip(keys, (path, 'Pretrained'))))
    official = {k: torch.rand_like(v)
                for k, v in model.architecture.backbone.state_dict().items()}
    write_checkpoint(official, path)
    model.init_weights()
    for key, value in model.architecture.backbone.state_dict().items():
        assert torch.equal(value, official[key]), key


@pytest.mark.parametrize('epochs', [100, 500])
def test_schedule(epochs):
    cfg = Config.fromfile(FOLDER / f'_base_/schedules/adamw_{epochs}e.py')
    assert cfg.train_cfg.max_epochs == epochs
    model = tiny_distillation()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.defaults['betas'] == (0.9, 0.999)
    names = {id(p): n for n, p in model.named_parameters()}
    decays = {names[id(p)]: g['weight_decay'] for g in optimizer.param_groups
              for p in g['params']}
    assert set(decays) == set(names.values())
    # neither the networks' nor the connectors' norms decay
    norms = {n for n in decays if re.search(r'\.(norm\d?|bn|layers\.\d\.2)\.\w+$', n)}
    assert {n for n, d in decays.items() if d == 0} == norms
    assert {decays[n] for n in set(decays) - norms} == {0.01}
    assert any('connectors' in n for n in norms)
    (scheduler,) = cfg.param_scheduler
    assert scheduler.pop('type') == 'PolyLR'
    assert scheduler.pop('convert_to_iter_based')
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    poly = PolyLR.build_iter_from_epoch(optimizer, epoch_length=4, **scheduler)
    rates = []
    for _ in range(4 * epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        poly.step()
    # the last step has reached 0
    expected = torch.linspace(5e-5, 0, 4 * epochs, dtype=torch.float64).tolist()
    assert rates == pytest.approx(expected, rel=1e-6, abs=1e-12)
