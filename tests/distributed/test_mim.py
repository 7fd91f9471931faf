"""`mim train` and `mim test` in two processes, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / 'configs' / 'distill' / 'demo'
STUDENT = 'fastsegformer-e_efficientformerv2-s0_1xb8-300i_synthetic-oranges-128x128.py'
DISTILLED = ('pkl-nfd-kd2_att-unet-swin-half_fastsegformer-e_1xb8-300i_'
             'synthetic-oranges-128x128.py')
TWO = ('--launcher', 'pytorch', '--gpus', '2')

pytestmark = pytest.mark.slow


def run(folder, *command):
    environment = dict(
        os.environ, CUDA_VISIBLE_DEVICES='', GLOO_SOCKET_IFNAME='lo',
        OMP_NUM_THREADS='1')
    # the scripts of the environment need not be on the path
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=environment, cwd=folder, timeout=300,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def mim(folder, command, config, *arguments, **options):
    options = {**options, **{
        f'{split}_dataloader.dataset.data_root': 'data'
        for split in ('train', 'val', 'test')}}
    return run(
        folder, '-m', 'mim', command, 'mmseg', DEMO / config, *arguments,
        '--cfg-options', *(f'{k}={v}' for k, v in options.items()))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Where users are: a folder with data/, 7 images to test on."""
    folder = tmp_path_factory.mktemp('mim')
    run(folder, ROOT / 'tools/dataset_converters/make_synthetic_oranges.py', 'data',
        '--num', '20', '--size', '96', '--ratios', '8', '5', '7')
    return folder


def train(folder, config, name, **options):
    return mim(
        folder, 'train', config, *TWO, '--work-dir', name, **{
            'train_cfg.max_iters': 3, 'train_cfg.val_interval': 3,
            'train_dataloader.batch_size': 2, **options})


def score(folder, config, checkpoint, name, *launcher):
    """All figures of a test, the matrix among them."""
    mim(folder, 'test', config, '--checkpoint', checkpoint, *launcher,
        '--work-dir', name)
    path, = (folder / name).glob('*/evaluation/metrics.json')
    return json.loads(path.read_text())


def test_plain(folder):
    """Trained by two, tested by two and by one: the same figures."""
    said = train(folder, STUDENT, 'plain')
    assert said.count('joined by gloo instead of nccl') == 1
    assert 'Iter(val) [3/3]' in said  # of 5 images
    checkpoint = 'plain/iter_3.pth'
    two = score(folder, STUDENT, checkpoint, 'two', *TWO)
    one = score(folder, STUDENT, checkpoint, 'one')
    assert two == one
    assert sum(map(sum, two['confusion_matrix'])) == 7 * 96 * 96


def test_distilled(folder):
    """The student that two processes have exported, tested by two."""
    said = train(folder, DISTILLED, 'distilled', **{
        'model.teacher_ckpt': None, 'model.allow_random_teacher': True})
    assert said.count('joined by gloo instead of nccl') == 1
    assert said.count('distill.loss_nfd') > 0 or 'ExportStudentHook' in said
    found = score(folder, STUDENT, 'distilled/student/iter_3.pth', 'student', *TWO)
    assert sum(map(sum, found['confusion_matrix'])) == 7 * 96 * 96
