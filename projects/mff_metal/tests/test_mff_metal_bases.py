"""Bases of MFF-Metal's configs: augmentation, test-time augmentation, schedules."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import TRANSFORMS
from mmengine.runner import set_random_seed
from mmseg.registry import DATASETS

from mff_metal.transforms import SignedDistanceMap

ROOT = Path(__file__).resolve().parents[3]
checks = SimpleNamespace(**runpy.run_path(str(ROOT / 'tests/config_checks.py')))
offline = checks.offline
FOLDER = ROOT / 'projects/mff_metal'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    shapes = [(64, 64), (64, 64)]
    return checks.write_data(tmp_path_factory.mktemp('data'), shapes)


@pytest.mark.parametrize(('epochs', 'rates'), [
    (300, {0: 1e-3, 99: 1e-3, 100: 5e-4, 119: 5e-4, 120: 2.5e-4, 149: 2.5e-4,
           150: 1.25e-4, 259: 1.25e-4, 260: 6.25e-5, 299: 6.25e-5}),
    (100, {0: 1e-3, 32: 1e-3, 33: 5e-4, 39: 5e-4, 40: 2.5e-4, 49: 2.5e-4,
           50: 1.25e-4, 86: 1.25e-4, 87: 6.25e-5, 99: 6.25e-5})])
def test_schedule(epochs, rates):
    """Adam's rate at these epochs, counted from 0."""
    cfg = Config.fromfile(FOLDER / f'configs/_base_/schedules/adam-step_{epochs}e.py')
    assert cfg.optim_wrapper.optimizer.type == 'Adam'
    assert cfg.train_cfg.max_epochs == epochs
    scheduler, = cfg.param_scheduler
    assert (scheduler.type, scheduler.by_epoch) == ('MultiStepLR', True)
    optimizer = torch.optim.Adam([torch.zeros(1)], cfg.optim_wrapper.optimizer.lr)
    steps = torch.optim.lr_scheduler.MultiStepLR(
        optimizer, scheduler.milestones, scheduler.gamma)
    found = {}
    for epoch in range(epochs):
        found[epoch] = optimizer.param_groups[0]['lr']
        optimizer.step()
        steps.step()
    assert {k: found[k] for k in rates} == pytest.approx(rates)


def sample_pipeline(cfg, name, without=()):
    return [TRANSFORMS.build(t) for t in cfg[name] if t.type not in without]


def test_augmentation_takes_all_eight_positions(data):
    """Flips and turns give each with the same probability; maps go with the label."""
    cfg = checks.read(
        FOLDER / 'configs/mff-metal_c30_1xb15-300e_neu-seg-200x200.py', data)
    pipeline = sample_pipeline(cfg, 'boundary_train_pipeline', ('RandomApply',))
    source = DATASETS.build({**cfg.train_dataloader.dataset, 'pipeline': []})
    set_random_seed(0)
    seen = {}
    for _ in range(160):
        results = dict(source[0])
        for transform in pipeline:
            results = transform(results)
        key = results['inputs'].numpy().tobytes()
        seen.setdefault(key, []).append(results['data_samples'])
    assert len(seen) == 8
    assert min(map(len, seen.values())) >= 8
    for samples in seen.values():
        label = samples[0].gt_sem_seg.data[0].numpy().astype(np.uint8)
        expected = SignedDistanceMap(4, truncate=True)(dict(gt_seg_map=label))
        maps = samples[0].gt_distance_map.data.numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(maps, expected['gt_distance_map'])


def test_colour_jitter(data):
    """Brightness and contrast of a fifth of the images, and no labels."""
    cfg = checks.read(
        FOLDER / 'configs/unet-plus-plus_1xb15-300e_neu-seg-200x200.py', data)
    assert 'SignedDistanceMap' not in [t.type for t in cfg.train_pipeline]
    jitter, = [TRANSFORMS.build(t) for t in cfg.train_pipeline
               if t.type == 'RandomApply']
    image = np.tile(np.array([[40], [160]], np.uint8)[..., None], (1, 1, 3))
    set_random_seed(0)
    factors = []
    for _ in range(300):
        out = jitter(dict(img=image.copy()))
        assert set(out) == {'img'}
        assert (out['img'] == out['img'][..., :1]).all()
        if not np.array_equal(out['img'], image):
            dark, light = out['img'][..., 0].ravel().astype(float)
            factors.append(((dark + light) / 200, (light - dark) / 120))
    assert 40 <= len(factors) <= 80
    for brightness, contrast in factors:
        assert 0.75 < brightness < 1.25
        assert 0.75 * 0.75 < contrast < 1.25 * 1.25
    # each by itself: a change of brightness scales the contrast with it
    brightness, contrast = np.array(factors).T
    assert np.std(brightness) > 0.1
    assert np.std(contrast / brightness) > 0.1


@pytest.mark.parametrize('name', ['neu_seg_200x200', 'neu_seg_96x96'])
def test_test_time_augmentation(name, data):
    cfg = checks.read(FOLDER / f'configs/_base_/datasets/{name}.py', data)
    augmented = DATASETS.build(
        {**cfg.test_dataloader.dataset, 'pipeline': cfg.tta_pipeline})[0]
    assert [s.flip for s in augmented['data_samples']] == [False, True]
    size = (64, 64) if '200' in name else (96, 96)
    assert [x.shape for x in augmented['inputs']] == [(3, *size)] * 2
    plain, mirrored = augmented['inputs']
    assert torch.equal(plain.flip(2), mirrored) or '96' in name
    # labels keep their own size
    assert all(s.gt_sem_seg.shape == (64, 64) for s in augmented['data_samples'])
