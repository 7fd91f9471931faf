"""Every config builds, reads its data, predicts and learns one step.

Data sets are made up and small, inputs shrunk to 64x64, weights never downloaded.
"""

import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS

ROOT = Path(__file__).resolve().parents[1]
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline
CONFIGS = sorted(p for p in ROOT.glob('configs/*/*.py') if p.parent.name != '_base_')
DATA_BASES = sorted(ROOT.glob('configs/_base_/datasets/*.py'))
NAME = re.compile(
    r'(?P<model>[a-z0-9-]+(_[a-z0-9-]+)?)(?P<pretrained>_in1k-pre)?'
    r'_(?P<gpus>\d+)xb(?P<batch>\d+)-(?P<schedule>\d+e|demo)'
    r'_(?P<dataset>[a-z-]+)-(?P<height>\d+)x(?P<width>\d+)')
DATASETS_OF_NAMES = {
    'navel-orange': ('NavelOrangeDataset', 'data/navel_orange'),
    'neu-seg': ('NEUSegDataset', 'data/neu_seg'),
    'synthetic-oranges': ('NavelOrangeDataset', 'data/synthetic_oranges'),
    'my-set': ('BaseSegDataset', 'data/my_set')}
# of four classes, as published (rivals: as MMSegmentation's modules give them)
PARAMETERS = {
    'fastsegformer-e_efficientformerv2-s0': 5_013_044,
    'fastsegformer-e-ppm-noirb_efficientformerv2-s0': 4_482_836,
    'fastsegformer-e-ppm_efficientformerv2-s0': 4_494_324,
    'fastsegformer-e-msp-noirb_efficientformerv2-s0': 5_001_556,
    'fastsegformer-p_poolformer-s12': 14_891_940,
    'fastsegformer-p-ppm-noirb_poolformer-s12': 13_547_460,
    'fastsegformer-p-ppm_poolformer-s12': 13_564_324,
    'fastsegformer-p-msp-noirb_poolformer-s12': 14_875_076,
    'fastsegformer_poolformer-s24': 28_332_484,
    'fastsegformer_poolformer-s36': 43_120_708,
    'fastsegformer_swin-t': 40_387_582,
    'att-unet_swin-t': 49_229_322,
    'att-unet_swin-s': 71_080_826,
    'fast-scnn': 1_453_692,
    'bisenetv1_r18': 13_419_916,
    'bisenetv2': 14_768_420,
    'pidnet-s': 7_717_001,
    'pidnet-m': 28_759_113,
    'pidnet-l': 37_306_473,
    'unet-s5-d16': 29_060_936,
    'segformer_mit-b0': 3_716_196,
    'deeplabv3plus_r18-d8': 12_466_052,
    'segformer_mit-b2': 24_724_164,
    'deeplabv3plus_r50-d8': 43_578_328}
every_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda p: p.stem)


def test_configs_import_built_in_modules_alone():
    """Upstream's MMEngine reads a config that imports any other as a lazy one."""
    files = sorted(f for f in ROOT.glob('**/configs/**/*.py') if '.venv' not in str(f))
    assert len(files) > 100
    imports = re.compile(r'^(?:import|from) (\w+)', re.M)
    found = {f.name: imports.findall(f.read_text(encoding='utf-8')) for f in files}
    assert {n for names in found.values() for n in names} <= {'sys'}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return checks.write_data(tmp_path_factory.mktemp('data'))


def test_configs_are_found():
    assert len(CONFIGS) >= 77
    assert {p.parent.name for p in CONFIGS} >= {
        'fastsegformer', 'swin_att_unet', 'comparison'}
    assert len(DATA_BASES) == 10
    models = {NAME.fullmatch(p.stem)['model'] for p in CONFIGS}
    assert set(PARAMETERS) == models


@every_config
def test_name_and_content_agree(path):
    cfg = Config.fromfile(path)
    name = NAME.fullmatch(path.stem)
    assert cfg.train_dataloader.batch_size == int(name['batch'])
    assert cfg.crop_size == (int(name['height']), int(name['width']))
    kind, root = DATASETS_OF_NAMES[name['dataset']]
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert (dataset.type, dataset.data_root) == (kind, root)
    if name['schedule'] == 'demo':
        assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    else:
        # tests/test_schedules.py looks at these
        base = Config.fromfile(
            ROOT / f"configs/_base_/schedules/adam_{name['schedule']}.py")
        assert cfg.train_cfg.max_epochs == int(name['schedule'][:-1])
        for key in ('train_cfg', 'optim_wrapper', 'param_scheduler'):
            assert cfg[key] == base[key]
    # a pretrained backbone is frozen for the first twentieth of the epochs
    frozen = [h for h in cfg.get('custom_hooks', [])
              if h.type == 'FreezeUnfreezeHook']
    init_cfg = cfg.model.backbone.get('init_cfg')
    if name['pretrained']:
        assert init_cfg.type == 'Pretrained'
        assert [h.unfreeze_epoch for h in frozen] == [cfg.train_cfg.max_epochs // 20]
    else:
        assert (init_cfg, frozen) == (None, [])
    # one GPU and a CPU have to do, and all networks see the same input
    assert 'SyncBN' not in cfg.pretty_text
    assert cfg.model.data_preprocessor == dict(
        type='SegDataPreProcessor', mean=[0, 0, 0], std=[255, 255, 255],
        bgr_to_rgb=True, pad_val=0, seg_pad_val=255, size_divisor=32)
    excluded = cfg.test_evaluator.get('exclude_background', False)
    assert excluded == (name['dataset'] == 'neu-seg')


@every_config
def test_at_most_three_levels_of_inheritance(path):
    assert checks.depth(path) <= 3


@every_config
def test_trains_and_predicts(path, data):
    network = NAME.fullmatch(path.stem)['model']
    step = checks.check(path, data)
    if step.cfg.model.decode_head.num_classes == 4:
        count = sum(p.numel() for p in step.model.parameters())
        assert count == PARAMETERS[network]
    assert step.cfg.optim_wrapper.optimizer.type == 'Adam'
    assert step.batch['inputs'].shape == (2, 3, 64, 64)
    first, _ = next(step.model.backbone.named_parameters())
    assert {f'backbone.{first}', 'decode_head.conv_seg.weight'} <= step.moved


def test_poolformer_takes_official_weights(tmp_path):
    """Bare, with the classifier's norm and head, and without output norms."""
    path = ROOT / ('configs/fastsegformer/fastsegformer-p_poolformer-s12_in1k-pre_'
                   '1xb32-100e_neu-seg-224x224.py')
    cfg = Config.fromfile(path)
    assert cfg.checkpoint.endswith('/poolformer_s12.pth.tar')
    init_cfg = cfg.model.backbone.init_cfg
    assert init_cfg == dict(type='Pretrained', checkpoint=cfg.checkpoint)
    init_cfg.checkpoint = str(tmp_path / 'poolformer_s12.pth.tar')
    remaining = {**cfg.model.backbone, 'init_cfg': None}
    official = {k: v for k, v in MODELS.build(remaining).state_dict().items()
                if not k.startswith('norm')}
    torch.save({**official, 'norm.weight': torch.ones(512),
                'head.weight': torch.ones(1000, 512)}, init_cfg.checkpoint)
    model = MODELS.build(cfg.model)
    key = 'network.6.1.mlp.fc2.weight'
    assert not torch.equal(model.backbone.state_dict()[key], official[key])
    model.init_weights()
    loaded = model.backbone.state_dict()
    assert len(official) > 100
    for key, value in official.items():
        assert torch.equal(loaded[key], value), key


@pytest.mark.parametrize('path', DATA_BASES, ids=lambda p: p.stem)
def test_data_base(path, data):
    cfg = checks.read(path, data)
    letterboxed = any(t.type == 'LetterBox' for t in cfg.test_pipeline)
    train_set = DATASETS.build(cfg.train_dataloader.dataset)
    joined = len(checks.data_sets(cfg.train_dataloader))
    assert len(train_set) == 2 * joined
    assert len(train_set.metainfo['palette']) >= 2
    for sample in (train_set[0], train_set[1]):
        size = sample['inputs'].shape[1:]
        assert sample['inputs'].dtype == torch.uint8
        assert sample['data_samples'].gt_sem_seg.data.shape[1:] == size
        if letterboxed:
            assert size == cfg.crop_size
        else:
            assert all(s <= c for s, c in zip(size, cfg.crop_size))
    for split in ('val', 'test'):
        dataset = DATASETS.build(cfg[f'{split}_dataloader'].dataset)
        for sample, shape in zip((dataset[0], dataset[1]), checks.IMAGE_SHAPES):
            assert sample['data_samples'].gt_sem_seg.data.shape == (1, *shape)
            assert sample['data_samples'].ori_shape == shape
            if letterboxed:
                assert sample['inputs'].shape == (3, *cfg.crop_size)
                assert sum(sample['data_samples'].padding_size) > 0
    augmented = DATASETS.build(
        {**cfg.test_dataloader.dataset, 'pipeline': cfg.tta_pipeline})[0]
    flips = [s.flip for s in augmented['data_samples']]
    assert len(flips) == (2 if letterboxed else 12)
    assert sum(flips) == len(flips) // 2


@pytest.mark.parametrize('name', [
    'fastsegformer-e_efficientformerv2-s0_1xb8-demo_synthetic-oranges-224x224',
    'fastsegformer-e_efficientformerv2-s0_in1k-pre_1xb32-100e_neu-seg-224x224'])
def test_whole_run(name, data, tmp_path):
    """Train, validate, keep the best and test, as `mim train` and `mim test` do."""
    cfg = checks.read(ROOT / f'configs/fastsegformer/{name}.py', data)
    checks.shrink(cfg)
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.batch_size = 2
    limit = 'max_iters' if 'demo' in name else 'max_epochs'
    cfg.train_cfg.update({limit: 2, 'val_interval': 1})
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.test()
    assert {'mIoU', 'mPA', 'mPrecision', 'mRecall', 'aAcc'} <= set(metrics)
    assert len(list(tmp_path.glob('best_mIoU_*.pth'))) == 1
    assert list(tmp_path.rglob('*confusion*.csv'))


def test_a_base_of_partly_labelled_images(data):
    """Each image once, half of each batch labelled, in a config that names it."""
    base = ROOT / 'configs/_base_/datasets/voc_layout_partly_labelled.py'
    cfg = checks.read(base, data)
    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.sampler.labelled) == (32, 16)
    loader.batch_size = loader.sampler.batch_size = 4
    loader.sampler.labelled = 2
    built = Runner.build_dataloader(loader, seed=0)
    assert built.dataset.sizes == (2, 2)
    assert len(built) == 1
    [batch] = built
    assert [s.metainfo['labelled'] for s in batch['data_samples']] == [
        True, True, False, False]
    labels = [set(s.gt_sem_seg.data.unique().tolist()) for s in batch['data_samples']]
    assert labels[2:] == [{255}, {255}]
    assert all(found <= {0, 1} for found in labels[:2])
    assert {x.shape for x in batch['inputs']} == {(3, 224, 224)}
    names = {Path(s.img_path).parent.name for s in batch['data_samples'][2:]}
    assert names == {'line'}


def test_test_time_augmentation(data):
    """Letterboxed and mirrored: cut, flipped back and merged at the image's size."""
    path, = [p for p in CONFIGS if '-demo_' in p.name]
    cfg = checks.read(path, data)
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model = MODELS.build({**cfg.tta_model, 'module': cfg.model}).eval()
    with torch.no_grad():
        merged, = model.test_step(pseudo_collate([dataset[0]]))
        plain, mirrored = (
            sample.seg_logits.data.softmax(0) for sample in model.module.test_step(
                {k: list(v) for k, v in dataset[0].items()}))
    assert merged.pred_sem_seg.data.shape == (1, *checks.IMAGE_SHAPES[0])
    assert not torch.equal(plain, mirrored)
    assert torch.equal(merged.pred_sem_seg.data[0], (plain + mirrored).argmax(0))
