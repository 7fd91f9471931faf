"""Commands and segmentors in processes of their own, beside two that are busy.

What a native library does at its first use, it does once a process: only a fresh one
shows whether two threads of it wait for each other.
"""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
cases = runpy.run_path(str(ROOT / 'tests/deploy/segmentor_cases.py'))
write_images = runpy.run_path(str(ROOT / 'tests/deploy/prediction_cases.py'))[
    'write_images'
]
IMAGES = 12
# seconds in which a process has to end; on two idle cores it takes five to ten
LIMIT = 600

# OpenVINO's binding asks for NumPy's version within the initialiser of a C++ static, at
# the first input: while that sleeps, another thread waits there, and holds the GIL
SLOW_NUMPY = """
import time
import numpy.lib
class Slow(numpy.lib.NumpyVersion):
    def __init__(self, version):
        time.sleep(1)
        super().__init__(version)
numpy.lib.NumpyVersion = Slow
"""
SEGMENTOR = f"""
import sys
import numpy as np
from fastsegformer_mm.deploy import DefectSegmentor
config, checkpoint, _ = sys.argv[1:]
options = dict(checkpoint=checkpoint, threads=2, streams=2, overlap=True)
frame = np.zeros((64, 64, 3), np.uint8)
with DefectSegmentor(config, '{{backend}}', 'cpu', **options) as segmentor:
    assert len(segmentor([frame] * {IMAGES})) == {IMAGES}
"""
PAGE = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from fastsegformer_mm.deploy.page.models import Models, ModelSource
config, checkpoint, _ = sys.argv[1:]
models = Models([ModelSource(config, checkpoint)], backend='openvino', threads=2)
frame = np.zeros((64, 64, 3), np.uint8)
visits = [(models.names[0], p, frame) for p in models.precisions(models.names[0])] * 4
with ThreadPoolExecutor(4) as visitors:
    assert len(list(visitors.map(lambda visit: models.segment(*visit), visits))) > 3
"""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Config, checkpoint and a folder of images."""
    folder = tmp_path_factory.mktemp('trained')
    cfg = cases['make_config']()
    cfg.dump(folder / 'tiny.py')
    weights = cases['make_segmentor'](cfg).state_dict()
    torch.save(dict(state_dict=weights), folder / 'best.pth')
    write_images(folder / 'photos', [f'{k:02d}.png' for k in range(IMAGES)])
    return [str(folder / name) for name in ('tiny.py', 'best.pth', 'photos')]


@pytest.fixture
def two_busy_processes():
    busy = [subprocess.Popen([sys.executable, '-c', 'while 1: 0']) for _ in range(2)]
    yield
    for process in busy:
        process.kill()
        process.wait()


def start(*command):
    """Its exit code and what it said; it is killed where it does not end."""
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(map(str, [ROOT, *sys.path]))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )


@pytest.mark.usefixtures('two_busy_processes')
@pytest.mark.parametrize('starts', [2, pytest.param(20, marks=pytest.mark.slow)])
def test_predict(trained, tmp_path, starts):
    config, checkpoint, photos = trained
    for k in range(starts):
        out = tmp_path / str(k)
        done = start(
            'tools/predict.py', config, photos, '--checkpoint', checkpoint,
            '--threads', 2, '--out', out,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert len((out / 'defects.jsonl').read_bytes().splitlines()) == IMAGES


def test_two_threads_at_the_first_use(trained):
    code = SLOW_NUMPY + SEGMENTOR.format(backend='openvino')
    done = start('-c', code, *trained)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures('two_busy_processes')
@pytest.mark.parametrize('code', ['openvino', 'onnxruntime', 'page'])
def test_segmentors(trained, code):
    code = PAGE if code == 'page' else SEGMENTOR.format(backend=code)
    for _ in range(20):
        done = start('-c', code, *trained)
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.usefixtures('two_busy_processes')
def test_export(trained, tmp_path):
    config, checkpoint, _ = trained
    for k in range(20):
        done = start(
            'tools/deployment/export.py', config, checkpoint, '--threads', 2,
            '--out', tmp_path / f'{k}.xml', '--num', 4,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert (tmp_path / f'{k}.xml').is_file()
