"""Every config of the project builds, learns a step, predicts and is as it says.

Data sets are made up, inputs 64x64, teachers random; nothing is downloaded.
"""

import importlib
import re
import runpy
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.optim import PolyLR
from mmengine.registry import DATASETS, MODELS

from fastsegformer_mm.datasets.checks import check_dataset
from fastsegformer_mm.engine.checkpoint import read_checkpoint
from fastsegformer_mm.engine.checkpoint.student import export_student
from fastsegformer_mm.engine.checkpoint.write import write_checkpoint

ROOT = Path(__file__).resolve().parents[3]
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline
PROJECT = ROOT / 'projects/pixel_pair_kd'
CONFIGS = sorted((PROJECT / 'configs').glob('*.py'))
from_file = cache(Config.fromfile)  # nobody changes what it returns
STUDENTS = ('r18-d16', 'mobilenet-v2-d16')
STEMS = (
    'in1k-pre_1xb16-30k_voc12aug-512x512',
    'in1k-pre_1xb8-80k_cityscapes-512x1024',
    '1xb32-100e_neu-seg-224x224',
)
NAME = re.compile(
    r'(?P<distilled>pixel-pair_deeplabv3plus-r101-d16_)?'
    r'deeplabv3plus[-_](?P<net>[a-z0-9]+(-v2)?-d16)(?P<pretrained>_in1k-pre)?'
    r'_1xb(?P<batch>\d+)-(?P<schedule>\d+[kei])_(?P<dataset>[a-z0-9-]+)'
    r'-(?P<height>\d+)x(?P<width>\d+)'
)
# {dataset: (class, root, classes, their parameters)}
DATA = {
    'voc12aug': ('ConcatDataset', 'data/VOCdevkit/VOC2012', 21),
    'cityscapes': ('CityscapesDataset', 'data/cityscapes', 19),
    'neu-seg': ('NEUSegDataset', 'data/neu_seg', 4),
}
# without the classifier, which has 257 a class
PARAMETERS = {
    'r101-d16': 48_323_536,
    'r18-d16': 14_973_904,
    'mobilenet-v2-d16': 5_335_856,
}
WEIGHTS = {
    'r101-d16': 'open-mmlab://resnet101_v1c',
    'r18-d16': 'open-mmlab://resnet18_v1c',
    'mobilenet-v2-d16': 'mmcls://mobilenet_v2',
}
ENCODER = {'r101-d16': 2048, 'r18-d16': 512, 'mobilenet-v2-d16': 320}
DISTILLED = [p for p in CONFIGS if NAME.fullmatch(p.stem)['distilled']]
every_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)
every_distillation = pytest.mark.parametrize('path', DISTILLED, ids=lambda p: p.stem)


def alone(path):
    """The config of a distillation's student, or of its teacher."""
    student = path.name.removeprefix('pixel-pair_deeplabv3plus-r101-d16_')
    return path.with_name(student.replace('deeplabv3plus-', 'deeplabv3plus_'))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return checks.write_data(tmp_path_factory.mktemp('data'))


def test_configs_are_found():
    expected = {
        'deeplabv3plus_r101-d16_1xb8-600i_neu-seg-112x112',
        'deeplabv3plus_r18-d16_1xb8-300i_neu-seg-112x112',
        'pixel-pair_deeplabv3plus-r101-d16_deeplabv3plus-r18-d16_1xb8-300i_'
        'neu-seg-112x112',
        *(f'deeplabv3plus_{n}_{s}' for n in PARAMETERS for s in STEMS),
        *(
            f'pixel-pair_deeplabv3plus-r101-d16_deeplabv3plus-{n}_{s}'
            for n in STUDENTS
            for s in STEMS
        ),
    }
    assert len(expected) == 18
    assert {p.stem for p in CONFIGS} == expected
    assert len(DISTILLED) == 7


@every_config
def test_name_and_content_agree(path):
    cfg, name = from_file(path), NAME.fullmatch(path.stem)
    kind, root, classes = DATA[name['dataset']]
    assert cfg.train_dataloader.dataset.type == kind
    assert cfg.data_root == root
    assert cfg.crop_size == (int(name['height']), int(name['width']))
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    network = cfg.model.architecture if name['distilled'] else cfg.model
    assert network.decode_head.num_classes == classes
    # the crop is a multiple: nothing is padded where all images are that large
    divisor = network.data_preprocessor.size_divisor
    assert [side % divisor for side in cfg.crop_size] == [0, 0]
    # the published weights, from ImageNet; NEU-Seg from scratch
    init_cfg = network.backbone.get('init_cfg')
    if name['pretrained']:
        assert init_cfg == dict(type='Pretrained', checkpoint=WEIGHTS[name['net']])
    else:
        assert init_cfg is None
    count, unit = int(name['schedule'][:-1]), name['schedule'][-1]
    iterations = unit != 'e'
    limit = count * 1000 if unit == 'k' else count
    assert cfg.train_cfg['max_iters' if iterations else 'max_epochs'] == limit
    assert cfg.train_cfg.type.startswith('IterBased' if iterations else 'EpochBased')
    assert cfg.default_hooks.checkpoint.get('by_epoch', True) != iterations
    assert cfg.log_processor.by_epoch != iterations
    if iterations:
        assert cfg.default_hooks.logger.log_metric_by_epoch is False
        assert cfg.train_dataloader.sampler.type == 'InfiniteSampler'
        assert cfg.param_scheduler[-1].end == limit
    assert cfg.optim_wrapper.optimizer.type == ('SGD' if unit == 'k' else 'Adam')


@every_distillation
def test_distillation_is_the_students_own_config_and_a_teacher(path):
    cfg, own = from_file(path), from_file(alone(path))
    changed = {k for k in cfg if cfg[k] != own.get(k)}
    assert changed == {
        'custom_imports', 'custom_hooks', 'distiller', 'model', 'teacher_name'}
    assert cfg.model.architecture == dict(_scope_='mmseg', **own.model)
    teacher = from_file(Path(cfg.model.teacher).resolve())
    # both see the same images, prepared in the same way
    assert 'student_size' not in cfg.model
    assert teacher.model.data_preprocessor == own.model.data_preprocessor
    for key in ('train_pipeline', 'test_pipeline', 'data_root', 'crop_size'):
        assert teacher[key] == own[key]
    assert teacher.model.backbone.depth == 101
    # where the teacher's training leaves its best checkpoint
    unit = 'epoch' if teacher.train_cfg.type.startswith('Epoch') else 'iter'
    name = Path(cfg.model.teacher).stem
    assert cfg.model.teacher_ckpt == f'work_dirs/{name}/best_mIoU_{unit}_*.pth'
    losses = cfg.model.distiller.distill_losses
    assert losses.loss_pixel == dict(
        type='PixelWiseLoss', loss_weight=100.0, mode='code')
    assert losses.loss_pair == dict(type='PairWiseLoss', loss_weight=1.0)


@every_config
def test_trains_and_predicts(path, data):
    name = NAME.fullmatch(path.stem)
    step = checks.check(path, data, shapes=checks.IMAGE_SHAPES[:1])
    network = step.model.architecture if name['distilled'] else step.model
    count = sum(p.numel() for p in network.parameters())
    classes = DATA[name['dataset']][2]
    assert count == PARAMETERS[name['net']] + 257 * classes
    assert not network.with_auxiliary_head
    # output stride 16, the classifier at 4
    maps = network.extract_feat(torch.zeros(1, 3, 64, 64))
    assert [m.shape[2] for m in maps] == [16, 8, 4, 4]
    if name['distilled']:
        # a random resizing may leave less than the crop
        height, width = step.batch['inputs'].shape[2:]
        coarse = height // 16, width // 16
        assert step.pairs == dict(
            loss_pixel=dict.fromkeys(
                ('preds_S', 'preds_T'), (2, 256, height // 4, width // 4)),
            loss_pair=dict(
                preds_S=(2, ENCODER[name['net']], *coarse), preds_T=(2, 2048, *coarse)))
        # what is trained is the student: nothing is left out of its export
        assert all(k.startswith('architecture.') for k in step.model.state_dict())
    prefix = 'architecture.' if name['distilled'] else ''
    first, _ = next(network.backbone.named_parameters())
    assert {f'{prefix}backbone.{first}', f'{prefix}decode_head.conv_seg.weight'} <= (
        step.moved)


def test_schedules_are_polynomials():
    for k in (30, 80):
        path = PROJECT / f'configs/_base_/schedules/sgd_{k}k.py'
        cfg = from_file(path)
        parameter = torch.nn.Parameter(torch.zeros(1))
        options = dict(cfg.optim_wrapper.optimizer)
        assert options.pop('type') == 'SGD'
        optimizer = torch.optim.SGD([parameter], **options)
        (poly,) = cfg.param_scheduler
        scheduler = PolyLR(
            optimizer, **{k: v for k, v in poly.items() if k != 'type'})
        rates = []
        for _ in range(cfg.max_iters):
            rates.append(optimizer.param_groups[0]['lr'])
            scheduler.step()
        assert rates[0] == 0.01
        middle = 1e-4 + (0.01 - 1e-4) * 0.5**0.9
        assert rates[len(rates) // 2] == pytest.approx(middle, rel=1e-4)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(1e-4, rel=1e-2)
        assert cfg.train_cfg.val_interval * 10 == cfg.max_iters


def test_voc_has_its_own_labels_and_those_of_sbd(data):
    cfg = checks.read(PROJECT / f'configs/deeplabv3plus_r18-d16_{STEMS[0]}.py', data)
    train_set = DATASETS.build(cfg.train_dataloader.dataset)
    infos = [train_set.get_data_info(i) for i in range(len(train_set))]
    files = [Path(i['seg_map_path']).relative_to(data) for i in infos]
    assert [str(f) for f in files] == [
        'voc/SegmentationClass/0.png',
        'voc/SegmentationClass/1.png',
        'voc/SegmentationClassAug/sbd0.png',
        'voc/SegmentationClassAug/sbd1.png',
    ]
    names = [Path(i['img_path']).name for i in infos]
    assert names == ['0.jpg', '1.jpg', 'sbd0.jpg', 'sbd1.jpg']
    shapes = [tuple(s['inputs'].shape[1:]) for s in train_set]
    assert all(h <= 512 and w <= 512 for h, w in shapes)
    # what CheckDatasetHook looks at covers both
    report = check_dataset(cfg, ['train'], processes=1)
    absent = [p.value for p in report.problems if p.kind == 'class-never-occurs']
    assert len(absent) == 17
    assert all(v.startswith('0 of 11360 pixels in 4 labels') for v in absent)
    (data / 'voc/SegmentationClassAug/sbd0.png').rename(data / 'kept.png')
    try:
        report = check_dataset(cfg, ['train'], processes=1)
        assert 'SegmentationClassAug' in str(report.problems)
    finally:
        (data / 'kept.png').rename(data / 'voc/SegmentationClassAug/sbd0.png')


@pytest.fixture(scope='module')
def distilled():
    """The smallest distillation, with a thin teacher."""
    (path,) = (PROJECT / 'configs').glob('pixel-pair_*mobilenet*neu-seg*')
    cfg = Config.fromfile(path)
    cfg.model.teacher = {'_scope_': 'mmseg', **from_file(
        path.with_name('deeplabv3plus_r18-d16_1xb32-100e_neu-seg-224x224.py')).model}
    cfg.model.update(teacher_ckpt=None, allow_random_teacher=True)
    importlib.import_module('pixel_pair_kd')
    torch.manual_seed(0)
    return MODELS.build(cfg.model), path


def test_records_are_those_before_the_relu(distilled):
    model, _ = distilled
    model.eval()
    seen = {}
    for network, recorders in (
        (model.architecture, model.distiller.student_recorders),
        (model.teacher.network, model.distiller.teacher_recorders),
    ):
        layer = network.get_submodule(recorders.get_recorder('decoder').source)
        hooks = [
            layer.register_forward_hook(
                lambda _, i, out: seen.update(record=out, copy=out.clone())),
            network.decode_head.dropout.register_forward_hook(
                lambda _, i, out: seen.update(classified=i[0])),
        ]
        with torch.no_grad():
            network(torch.rand(1, 3, 32, 32), mode='tensor')
        for hook in hooks:
            hook.remove()
        # ReLUs in place would have written over what the recorder holds
        assert (seen['record'] < 0).any()
        assert torch.equal(seen['record'], seen['copy'])
        # and it is what the classifier sees, but for the ReLU
        assert torch.equal(seen['classified'], seen['copy'].relu())


def test_the_student_is_exported_without_anything_else(distilled, tmp_path):
    model, path = distilled
    model.eval()
    write_checkpoint(dict(state_dict=model.state_dict()), str(tmp_path / 'a.pth'))
    out = export_student(tmp_path / 'a.pth', tmp_path / 'student.pth')
    student = MODELS.build({'_scope_': 'mmseg', **from_file(alone(path)).model}).eval()
    student.load_state_dict(read_checkpoint(str(out))['state_dict'])
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = model.architecture(image, mode='tensor')
        assert torch.equal(student(image, mode='tensor'), expected)


def test_metafile_lists_every_config_with_its_parameters():
    index = yaml.safe_load((PROJECT / 'metafile.yml').read_text())
    models = {m['Config']: m for m in index['Models']}
    assert list(models) == [str(p.relative_to(ROOT)) for p in CONFIGS]
    for path in CONFIGS:
        name = NAME.fullmatch(path.stem)
        model = models[str(path.relative_to(ROOT))]
        classes = DATA[name['dataset']][2]
        metadata = model['Metadata']
        assert model['Name'] == path.stem
        assert metadata['Batch Size'] == int(name['batch'])
        assert metadata['Parameters'] == PARAMETERS[name['net']] + 257 * classes
        assert ('Pretrained' in metadata) == bool(name['pretrained'])
    text = (PROJECT / 'README.md').read_text()
    links = set(re.findall(r'\]\((configs/[^)]+\.py)\)', text))
    assert links == {f'configs/{p.name}' for p in CONFIGS}
    for count in PARAMETERS.values():
        assert f'{count + 257 * 21:,}' in text
