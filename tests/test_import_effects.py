"""Importing the package registers its parts and changes nothing for anyone else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name('import_effects.py')
MODULES = (
    *('fastsegformer_mm', 'fastsegformer_mm.deploy', 'fastsegformer_mm.compat'),
    *('fastsegformer_mm.distillation', 'robust_training'),
)

# MMRazor's own doing, with or without this package, or that of what it imports
BY_MMRAZOR = dict(
    changed={
        'mmengine.logging.logger.MMLogger._instance_dict contents',
        'time.tzname',
        'torch.ao.quantization.observer.PerChannelMinMaxObserver.reset_min_max_vals',
    },
    # scikit-learn's KMP_DUPLICATE_LIB_OK and KMP_INIT_AT_FORK; MMRazor's limit
    settings={'environ', 'recursion'},
    registries={'mmengine:hook'},
)


@pytest.fixture(scope='module')
def effects():
    """In one fresh process; importing the stack takes seconds."""
    result = subprocess.run(
        [sys.executable, '-W', 'ignore', str(WORKER), *MODULES],
        capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def nothing_but(found, registries):
    """Whether an import has added to these registries and done nothing else."""
    assert found.pop('modules') > 10_000  # attributes looked at
    gained = found.pop('registries')
    assert found == dict(changed=[], added=[], replaced=[], settings=[])
    assert set(gained) == registries
    return gained


def test_the_package_registers_and_does_nothing_else(effects):
    parts = ('data sampler', 'dataset', 'hook', 'metric', 'model', 'transform',
             'weight initializer')
    gained = nothing_but(
        effects['fastsegformer_mm'], {f'mmseg:{part}' for part in parts})
    assert gained['mmseg:hook'] >= 10


@pytest.mark.parametrize('name', ['fastsegformer_mm.deploy', 'fastsegformer_mm.compat'])
def test_nothing_at_all(effects, name):
    nothing_but(effects[name], set())


def test_distillation_does_no_more_than_mmrazor(effects):
    found = effects['fastsegformer_mm.distillation']
    assert set(found['changed']) <= BY_MMRAZOR['changed']
    assert set(found['settings']) <= BY_MMRAZOR['settings']
    others = {name for name in found['registries'] if not name.startswith('mmrazor:')}
    assert others <= BY_MMRAZOR['registries']
    assert (found['added'], found['replaced']) == ([], [])


def test_what_replaces_parts_of_mmengine_is_seen(effects):
    """The comparison would tell; this module is the one that may."""
    found = effects['robust_training']
    assert {
        'mmengine.runner.checkpoint.CheckpointLoader._schemes contents',
        'mmengine.fileio.backends.registry_utils.backends contents',
        'mmengine.dist.utils._init_dist_pytorch',
    } <= set(found['changed'])
    assert (found['added'], found['replaced'], found['registries']) == ([], [], {})
    assert found['settings'] == []
    packages = {name.partition('.')[0] for name in found['changed']}
    assert packages == {'mmengine'}
