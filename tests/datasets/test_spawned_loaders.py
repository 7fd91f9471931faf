"""Loaders of our data sets with workers that are spawned, as on Windows and macOS."""

import pickle
import runpy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]
checks = runpy.run_path(str(ROOT / 'tests/config_checks.py'))
CONFIGS = 'configs/fastsegformer/', 'configs/distill/mix/', 'configs/distill/demo/'
FILES = sorted(path for folder in CONFIGS for path in ROOT.glob(f'{folder}*.py'))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return checks['write_data'](tmp_path_factory.mktemp('data'))


def test_data_sets_of_all_configs_are_pickled(data):
    init_default_scope('mmseg')
    seen = {}
    for path in FILES:
        cfg = checks['read'](path, data)
        for split in ('train', 'val', 'test'):
            settings = cfg[f'{split}_dataloader'].dataset
            seen.setdefault(str(settings), settings)
    assert len(seen) > 5
    for settings in seen.values():
        dataset = DATASETS.build(settings)
        copy = pickle.loads(pickle.dumps(dataset))
        first, again = dataset[0], copy[0]
        assert set(first) == set(again)
        assert first['inputs'].dtype == again['inputs'].dtype == torch.uint8


def test_two_spawned_workers(data):
    init_default_scope('mmseg')
    name = 'fastsegformer-e_efficientformerv2-s0_1xb32-1000e_navel-orange-224x224.py'
    cfg: Config = checks['read'](ROOT / 'configs/fastsegformer' / name, data)
    for split in ('train', 'val'):
        settings = cfg[f'{split}_dataloader']
        settings.update(num_workers=2, batch_size=1, persistent_workers=False)
        settings.multiprocessing_context = 'spawn'
        settings.drop_last = False
        batches = list(Runner.build_dataloader(settings, seed=0))
        assert len(batches) == 2
        samples = [batch['data_samples'][0] for batch in batches]
        names = {Path(sample.img_path).name for sample in samples}
        assert names == {'0.jpg', '1.jpg'}
        assert all(batch['inputs'][0].shape[0] == 3 for batch in batches)
