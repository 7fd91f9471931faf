"""A wheel, installed outside the checkout, trains by name from any folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    *('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE'),
    *('model-index.yml', 'fastsegformer_mm', 'configs', 'projects', 'tools'),
)
PROJECTS = sorted(p.parent.name for p in ROOT.glob('projects/*/*/__init__.py'))
CONFIG = 'fastsegformer-e-ppm-noirb_efficientformerv2-s0_1xb32-100e_neu-seg-224x224.py'


def call(*command, **kwargs):
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **kwargs
    )
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result.stdout + result.stderr


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """Folder with nothing but the installed wheel in it."""
    folder = tmp_path_factory.mktemp('wheel')
    # built from a copy: setuptools leaves build/ beside the sources
    sources = folder / 'sources'
    sources.mkdir()
    for part in SOURCES:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, sources / part)
    pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
    build = ['wheel', '-q', '--no-deps', '--no-build-isolation', '-w', folder]
    call(*pip, *build, sources)
    [wheel] = folder.glob('fastsegformer_mm-*.whl')
    call(*pip, 'install', '-q', '--no-deps', '--target', folder / 'site', wheel)
    return folder / 'site'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Four NEU-Seg images a split, each with one bright patch."""
    root = tmp_path_factory.mktemp('neu_seg')
    for split in ('train', 'val', 'test'):
        for part in ('images', 'annotations'):
            (root / part / split).mkdir(parents=True)
        for i in range(4):
            image = np.full((64, 64, 3), 90, np.uint8)
            label = np.zeros((64, 64), np.uint8)
            cv2.rectangle(image, (8 * i, 10), (8 * i + 20, 40), (220,) * 3, -1)
            cv2.rectangle(label, (8 * i, 10), (8 * i + 20, 40), 2, -1)
            cv2.imwrite(str(root / 'images' / split / f'{i}.jpg'), image)
            cv2.imwrite(str(root / 'annotations' / split / f'{i}.png'), label)
    return root


def test_wheel_carries_configs_and_tools(site):
    mim = site / 'fastsegformer_mm' / '.mim'
    for part in ('configs', 'tools', 'projects'):
        have = {p.relative_to(mim) for p in (mim / part).rglob('*.py')}
        # a project's code is installed as a module, its tests are not
        pattern = '*/configs/**/*.py' if part == 'projects' else '**/*.py'
        want = {p.relative_to(ROOT) for p in (ROOT / part).glob(pattern)}
        # the command is a module as well
        want = {p for p in want if p.parts[:2] != ('tools', 'fastsegformer_cli')}
        assert have == want
        assert have
    assert (mim / 'model-index.yml').is_file()


@pytest.mark.parametrize('name', PROJECTS)
def test_wheel_has_the_module_of_each_project(site, name):
    source = ROOT / 'projects' / name / name
    have = {p.relative_to(site / name) for p in (site / name).rglob('*.py')}
    assert have == {p.relative_to(source) for p in source.rglob('*.py')}
    readme = site / 'fastsegformer_mm/.mim/projects' / name / 'README.md'
    assert readme.is_file()


def test_the_command_runs_from_any_folder(site, tmp_path):
    """Its scripts and the configs that it finds by name are the wheel's."""
    env = {**os.environ, 'PYTHONPATH': str(site)}
    where = {'cwd': tmp_path, 'env': env}
    command = site / 'bin' / 'fastsegformer'
    assert 'synthetic-oranges' in call(sys.executable, command, '--help', **where)
    told = call(sys.executable, command, 'flops', CONFIG, **where)
    assert f'{site}/fastsegformer_mm/.mim/configs/fastsegformer/{CONFIG}\n' in told
    assert 'input 224x224' in told


def test_wheel_forces_no_stack(site):
    [metadata] = site.glob('fastsegformer_mm-*.dist-info/METADATA')
    required = [
        line
        for line in metadata.read_text().splitlines()
        if line.startswith('Requires-Dist') and 'extra ==' not in line
    ]
    assert [line.split()[-1] for line in required] == [
        'filelock', 'jinja2', 'numpy', 'packaging', 'safetensors', 'scipy']


def test_wheel_has_the_template_of_the_data_report(site):
    assert list(site.glob('fastsegformer_mm/datasets/checks/*.html.j2'))


def options(data):
    settings = [
        'train_cfg.max_epochs=1',
        'default_hooks.checkpoint.interval=1',
        'train_dataloader.batch_size=2',
    ]
    for split in ('train', 'val', 'test'):
        settings += [
            f'{split}_dataloader.dataset.data_root={data}',
            f'{split}_dataloader.num_workers=0',
            f'{split}_dataloader.persistent_workers=False',
        ]
    return ['--cfg-options', *settings]


@pytest.mark.parametrize('by_name', [True, False], ids=['name', 'path'])
def test_mim_trains_and_tests_from_any_folder(site, data, tmp_path, by_name):
    mim = Path(sys.executable).with_name('mim')
    env = {**os.environ, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '2'}
    path = site / 'fastsegformer_mm' / '.mim' / 'configs' / 'fastsegformer' / CONFIG
    package, config = ('fastsegformer_mm', CONFIG) if by_name else ('mmseg', path)
    where = {'cwd': tmp_path, 'env': env}

    log = call(mim, 'train', package, config, *options(data), **where)
    assert str(site) in log  # the installed config, not the checkout's
    [checkpoint] = tmp_path.glob(f'work_dirs/{Path(CONFIG).stem}/epoch_1.pth')
    log = call(
        mim,
        'test',
        package,
        config,
        '--checkpoint',
        checkpoint,
        *options(data),
        **where,
    )
    assert 'mIoU' in log
    assert list(tmp_path.rglob('confusion_matrix.png'))


def test_wheel_is_built_without_the_checkout(site):
    """No file of the wheel is a link to, or names, the folder it came from."""
    [wheel] = site.parent.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            assert str(ROOT).encode() not in archive.read(info), info.filename
