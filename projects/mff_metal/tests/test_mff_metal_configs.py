"""Configs of MFF-Metal: names, one step of each, a whole run, the README.

Data sets are made up, images 64x64 in place of 200x200, nothing is downloaded.
"""

import re
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

ROOT = Path(__file__).resolve().parents[3]
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline
FOLDER = ROOT / 'projects/mff_metal'
CONFIGS = sorted(p for p in FOLDER.glob('configs/**/*.py') if '_base_' not in p.parts)
SHAPES = [(64, 64), (64, 64)]
NAME = re.compile(
    r'(?P<model>.+)_1xb(?P<batch>\d+)-(?P<length>\d+)(?P<unit>[ei])'
    r'_(?P<dataset>neu-seg|my-cracks)-(?P<height>\d+)x(?P<width>\d+)')
# at inference; those of MFF-Metal and LMFFNet as published
PARAMETERS = {
    'mff-metal_c30': 981_580,
    'mff-metal_c60': 3_862_990,
    'mff-metal_c180': 34_390_390,
    'kl_mff-metal-c60_mff-metal-c30': 981_580,
    'kl_mff-metal-c180_mff-metal-c30': 981_580,
    'lmffnet': 1_342_087,
    'unet-s5-d16': 7_241_380,
    'unet-plus-plus': 9_159_780,
    'unet-plus-plus-ds': 9_159_780,
    'attention-unet': 8_726_176,
    'transunet_r50-vit-b16': 105_255_108,
    'transunet_compact': 32_814_884}
PUBLISHED = {
    'unet-s5-d16': 84.54, 'unet-plus-plus': 85.20, 'attention-unet': 84.88,
    'transunet_compact': 83.61, 'lmffnet': 86.62,
    'kl_mff-metal-c180_mff-metal-c30': 87.71}
TEMPLATE = FOLDER / 'configs/mff-metal_c30_1xb8-100e_my-cracks-256x256.py'
DISTILLED = [p for p in CONFIGS if p.stem.startswith('kl_')]
read = cache(Config.fromfile)  # nobody changes what it returns
every_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
every_distillation = pytest.mark.parametrize('path', DISTILLED, ids=lambda p: p.stem)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return checks.write_data(tmp_path_factory.mktemp('data'), SHAPES)


@pytest.fixture(scope='module')
def unequal_data(tmp_path_factory):
    return checks.write_data(tmp_path_factory.mktemp('unequal'))


def inference_count(model):
    network = getattr(model, 'architecture', model)
    return sum(p.numel() for name, p in network.named_parameters()
               if not name.startswith('auxiliary_head'))


def test_configs_are_found():
    names = {p.stem for p in CONFIGS}
    full = {m for m in PARAMETERS if 'c60' not in m}
    assert {f'{m}_1xb15-300e_neu-seg-200x200' for m in full} <= names
    assert {f'{m}_1xb15-100e_neu-seg-200x200' for m in full
            if 'mff-metal' in m} <= names
    small = {p.stem for p in FOLDER.glob('configs/small/*.py')}
    assert small == {
        'mff-metal_c60_1xb8-600i_neu-seg-96x96',
        'mff-metal_c30_1xb8-300i_neu-seg-96x96',
        'kl_mff-metal-c60_mff-metal-c30_1xb8-300i_neu-seg-96x96'}
    assert len(CONFIGS) == len(names) == len(full) + 3 + 3 + 1
    assert TEMPLATE in CONFIGS
    # nor is one a config of the package or of another project
    others = [p.stem for p in ROOT.glob('configs/**/*.py')]
    others += [p.stem for p in ROOT.glob('projects/*/configs/**/*.py')
               if p not in CONFIGS and '_base_' not in p.parts]
    assert not names & set(others)


@every_config
def test_name_and_content_agree(path):
    cfg, name = read(path), NAME.fullmatch(path.stem)
    assert checks.depth(path) <= 3
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    assert cfg.crop_size == (int(name['height']), int(name['width']))
    by_epoch = name['unit'] == 'e'
    assert cfg.train_cfg[f"max_{'epochs' if by_epoch else 'iters'}"] == int(
        name['length'])
    assert cfg.log_processor.by_epoch == by_epoch
    sampler = 'DefaultSampler' if by_epoch else 'InfiniteSampler'
    assert cfg.train_dataloader.sampler.type == sampler
    kind, root = {'neu-seg': ('NEUSegDataset', 'data/neu_seg'),
                  'my-cracks': ('BaseSegDataset', 'data/my_cracks')}[name['dataset']]
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.type, dataset.data_root) == (kind, root)
        assert split in dataset.data_prefix.img_path or split in dataset.ann_file
    for evaluator in (cfg.val_evaluator, cfg.test_evaluator):
        assert evaluator == dict(type='DefectIoUMetric', exclude_background=True)
    network = cfg.model.get('architecture', cfg.model)
    pre = network.data_preprocessor
    assert (pre.mean, pre.std, pre.bgr_to_rgb) == ([0, 0, 0], [255, 255, 255], True)
    assert 'SyncBN' not in repr(cfg)
    # MFF-Metal has its three losses and their maps, the others have cross entropy
    heads = [network.decode_head]
    if network.get('auxiliary_head'):
        heads += network.auxiliary_head
    maps = cfg.train_dataloader.dataset.pipeline[-1].type == 'PackDistanceMap'
    assert maps == ('mff-metal' in path.stem)
    for head in heads:
        losses = head.loss_decode if maps else [head.loss_decode]
        assert [(x.type, x.loss_weight) for x in losses] == ([
            ('SummedCrossEntropyLoss', 1.0), ('MFFDiceLoss', 0.5),
            ('MFFBoundaryLoss', 1e-4)] if maps else [('CrossEntropyLoss', 1.0)])


LONG = [p for p in CONFIGS if '-100e_neu' not in p.stem]


@pytest.mark.parametrize('path', LONG, ids=lambda p: p.stem)
def test_trains_and_predicts(path, data):
    step = checks.check(path, data, shapes=SHAPES)
    count = PARAMETERS[NAME.fullmatch(path.stem)['model']]
    if path == TEMPLATE:
        # two classes less: 1x1 convolutions of 120, 90 and two of 40 channels, BN
        count -= 2 * (120 + 90 + 2 * 40)
    assert inference_count(step.model) == count
    assert step.batch['inputs'].shape == (2, 3, 64, 64)
    prefix = 'student.' if path in DISTILLED else ''
    expected = {'ce'} | ({'dice', 'boundary'} if 'mff-metal' in path.stem else set())
    found = {k.removeprefix(f'{prefix}decode.loss_') for k in step.losses
             if k.startswith(f'{prefix}decode.loss_')}
    assert found == expected
    first, _ = next(iter(step.model.named_parameters()))
    assert first.startswith('architecture.' if path in DISTILLED else 'backbone.')
    assert first in step.moved
    # the total is what is listed, auxiliary heads' losses with the same weight
    total = sum(v for k, v in step.losses.items() if 'loss_' in k)
    assert step.losses['loss'] == pytest.approx(total, rel=1e-4)
    auxiliary = {k for k in step.losses if k.startswith('aux') and 'loss' in k}
    assert auxiliary == ({f'aux_{i}.loss_ce' for i in range(3)}
                         if 'plus-ds' in path.stem else set())


@pytest.mark.parametrize(
    'path', [p for p in CONFIGS if p not in LONG], ids=lambda p: p.stem)
def test_100_epochs_differ_in_the_schedule_alone(path):
    cfg = read(path)
    long = read(Path(str(path).replace('-100e_', '-300e_')))
    for key in ('model', 'teacher_name'):
        ours, other = repr(cfg.get(key)), repr(long.get(key))
        assert ours.replace('-100e_', '-300e_') == other
    assert {k for k in cfg if cfg[k] != long[k]} <= {
        'model', 'teacher_name', 'param_scheduler', 'train_cfg', 'max_epochs'}


@pytest.mark.parametrize('name', [
    'mff-metal_c30_1xb15-300e_neu-seg-200x200', 'lmffnet_1xb15-300e_neu-seg-200x200',
    'unet-s5-d16_1xb15-300e_neu-seg-200x200', TEMPLATE.stem])
def test_images_of_unequal_sizes(name, unequal_data):
    """Batches are padded, maps too; predictions have the images' own sizes."""
    path = FOLDER / f'configs/{name}.py'
    step = checks.check(path, unequal_data)
    divisor = 16 if name.startswith('unet') else 8
    height, width = step.batch['inputs'].shape[2:]
    assert height % divisor == width % divisor == 0
    assert step.batch['data_samples'][0].gt_sem_seg.shape == (height, width)
    assert np.isfinite(step.losses['loss'])


def test_unet_sees_multiples_of_16(unequal_data):
    cfg = checks.read(
        FOLDER / 'configs/unet-s5-d16_1xb15-300e_neu-seg-200x200.py', unequal_data)
    model = checks.build(cfg)
    seen = []
    model.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(tuple(args[0].shape[2:])))
    checks.predict(cfg, model)
    assert seen == [(64, 48), (48, 80)]
    # at NEU-Seg's own size
    sample = {'inputs': [torch.zeros(3, 200, 200, dtype=torch.uint8)],
              'data_samples': [SegDataSample()]}
    assert model.data_preprocessor(sample, False)['inputs'].shape[2:] == (208, 208)


def test_deep_supervision_reads_the_first_row():
    name = 'unet-plus-plus{}_1xb15-300e_neu-seg-200x200.py'
    cfg, plain = (read(FOLDER / 'configs' / name.format(s)) for s in ('-ds', ''))
    heads = [*cfg.model.auxiliary_head, cfg.model.decode_head]
    assert [h.in_index for h in heads] == [0, 1, 2, -1]
    for head in heads:
        assert {**head, 'in_index': -1} == plain.model.decode_head


@every_distillation
def test_distillation_is_the_students_config_and_a_teacher(path):
    cfg = read(path)
    own = read((path.parent / Config._get_base_files(str(path))[0]).resolve())
    architecture = dict(cfg.model.architecture)
    assert architecture.pop('_scope_') == 'mmseg'
    assert architecture == own.model
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader',
                'test_evaluator', 'optim_wrapper', 'param_scheduler', 'train_cfg',
                'default_hooks', 'crop_size'):
        assert cfg[key] == own[key], key
    assert cfg.custom_imports.imports == [
        'fastsegformer_mm.distillation', 'mff_metal', 'robust_training']
    assert 'student_size' not in cfg.model

    teacher = Path(cfg.model.teacher).resolve()
    name, taught = NAME.fullmatch(path.stem), NAME.fullmatch(teacher.stem)
    _, teacher_name, student_name = name['model'].split('_')
    assert taught['model'].replace('_', '-') == teacher_name
    assert student_name == 'mff-metal-c30'
    if name['unit'] == 'e':
        assert taught['length'] == name['length']
    unit = 'iter' if name['unit'] == 'i' else 'epoch'
    # where the teacher's best checkpoint is
    assert cfg.model.teacher_ckpt == (
        f'work_dirs/{teacher.stem}/best_mIoU_{unit}_*.pth')
    assert teacher.parent == path.parent
    assert read(teacher).crop_size == cfg.crop_size
    hooks = [type(HOOKS.build(h)).__name__ for h in cfg.custom_hooks]
    assert hooks == ['CheckTeacherHook', 'ExportStudentHook']


def test_distillation_loss():
    """The sum over the batch's pixels of KL(teacher || student) at 0.7."""
    loss = MODELS.build({
        '_scope_': 'mmrazor',
        **read(DISTILLED[0]).model.distiller.distill_losses.loss_kl})
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5, 6).double()
    p, q = (teacher / 0.7).softmax(1), (student / 0.7).softmax(1)
    expected = (p * (p / q).log()).sum()
    torch.testing.assert_close(loss(student, teacher).double(), expected,
                               rtol=1e-5, atol=0)
    weights = {repr(read(p).model.distiller) for p in DISTILLED}
    assert len(weights) == 1


def test_template_takes_any_classes(data, tmp_path):
    """The five values at its top reach data, network and losses."""
    text = TEMPLATE.read_text()
    start, end = text.index('# ---- change'), text.index('# -------------------------')
    assert len(re.findall(r'^\w+ = ', text[start:end], re.M)) == 5
    mine = text[:start] + """
data_root = 'data/other'
classes = ('road', 'crack', 'pothole', 'patch')
palette = [[0, 0, 0], [1, 1, 1], [2, 2, 2], [3, 3, 3]]
crop_size = (32, 48)
batch_size = 2
""" + text[end:]
    # as the bases are given relative to the file
    mine = mine.replace("'./_base_", f"'{TEMPLATE.parent}/_base_")
    mine = mine.replace("'../../../configs", f"'{ROOT}/configs")
    copy = tmp_path / 'mine.py'
    copy.write_text(mine)
    cfg = Config.fromfile(copy)
    assert cfg.train_dataloader.batch_size == 2
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.data_root == 'data/other'
        assert len(dataset.metainfo.classes) == len(dataset.metainfo.palette) == 4
        dataset.data_root = str(data / 'voc')
        dataset.ann_file = f'ImageSets/Segmentation/{split}.txt'
        cfg[f'{split}_dataloader'].update(num_workers=0, persistent_workers=False)
    model = checks.build(cfg)
    step = checks.learn(cfg, model)
    assert step.batch['inputs'].shape == (2, 3, 32, 48)
    assert np.isfinite(step.losses['loss'])
    assert model.decode_head.num_classes == 4
    # windows of the training's size, overlapping by a third
    seen = []
    model.backbone.register_forward_pre_hook(
        lambda _, args: seen.append(tuple(args[0].shape[2:])))
    checks.predict(cfg, model, SHAPES[:1])
    assert seen == [(32, 48)] * (3 * 2)
    assert cfg.model.test_cfg.stride == (21, 32)


def test_whole_run(data, tmp_path, monkeypatch):
    """Teacher, distillation, and a test of the exported student by its own config."""
    monkeypatch.chdir(tmp_path)
    folder = FOLDER / 'configs/small'
    distilled = 'kl_mff-metal-c60_mff-metal-c30_1xb8-300i_neu-seg-96x96'
    scores = {}
    for name in ('mff-metal_c60_1xb8-600i_neu-seg-96x96', distilled):
        cfg = checks.read(folder / f'{name}.py', data)
        checks.shrink(cfg, 32)
        cfg.work_dir = f'work_dirs/{name}'
        cfg.train_dataloader.batch_size = 2
        cfg.train_cfg.update(max_iters=2, val_interval=2)
        cfg.default_hooks.checkpoint.interval = 2
        runner = Runner.from_cfg(cfg)
        runner.train()
        scores[name] = runner.message_hub.get_scalar('val/mIoU').current()
    checkpoint, = Path(f'work_dirs/{distilled}/student').glob('best_mIoU_iter_*.pth')
    cfg = checks.read(folder / 'mff-metal_c30_1xb8-300i_neu-seg-96x96.py', data)
    checks.shrink(cfg, 32)
    cfg.update(work_dir='work_dirs/test', load_from=str(checkpoint))
    cfg.test_dataloader.dataset.data_prefix = cfg.val_dataloader.dataset.data_prefix
    assert Runner.from_cfg(cfg).test()['mIoU'] == pytest.approx(scores[distilled])


def test_metafile():
    models = yaml.safe_load((FOLDER / 'metafile.yml').read_text())['Models']
    assert sorted(m['Config'] for m in models) == sorted(
        str(p.relative_to(ROOT)) for p in CONFIGS)
    published = {}
    for model in models:
        name = NAME.fullmatch(model['Name'])
        assert Path(model['Config']).stem == model['Name']
        metadata = model['Metadata']
        assert metadata['Batch Size'] == int(name['batch'])
        epochs = int(name['length']) if name['unit'] == 'e' else None
        assert metadata.get('Epochs') == epochs
        if name['dataset'] == 'neu-seg':
            assert metadata['Parameters'] == PARAMETERS[name['model']]
        for result in model.get('Results', []):
            published[name['model']] = result['Metrics']['mIoU (published)']
            assert name['length'] == '300'
    assert published == PUBLISHED


def test_readme():
    """It links every config once; figures are the metafile's."""
    text = (FOLDER / 'README.md').read_text()
    links = [link.split('#')[0] for link in re.findall(r'\]\(([^)]+)\)', text)
             if not link.startswith(('http', '#'))]
    assert [link for link in links if not (FOLDER / link).exists()] == []
    rows = dict(re.findall(
        r'^(\|.*)\[config\]\((?:configs/)(?:small/)?([^)/]+)\.py\) \|$', text, re.M))
    rows = {name: row for row, name in rows.items()}
    assert set(rows) == {p.stem for p in CONFIGS} - {TEMPLATE.stem}
    assert sorted(Path(x).stem for x in links if x.endswith('.py')) == sorted(
        p.stem for p in CONFIGS)
    for model in yaml.safe_load((FOLDER / 'metafile.yml').read_text())['Models']:
        if model['Name'] == TEMPLATE.stem:
            continue
        row = rows[model['Name']]
        metadata = model['Metadata']
        assert f"| {metadata['Parameters']:,} | {metadata['GMACs']:.2f} |" in row
        if 'Results' in model:
            figure = model['Results'][0]['Metrics']['mIoU (published)']
            classes = [float(x) for x in re.findall(r' (\d\d\.\d\d) ', row)][-4:]
            assert classes[-1] == figure
            assert sum(classes[:3]) / 3 == pytest.approx(figure, abs=0.0101)
