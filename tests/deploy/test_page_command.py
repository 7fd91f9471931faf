"""tools/demo/app.py: what it refuses, and one run of it."""

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.page.models import ModelSource
from fastsegformer_mm.deploy.page.server import is_loopback

TOOL = Path(__file__).parents[2] / 'tools' / 'demo' / 'app.py'
CASE = Path(__file__).with_name('page_case.py')
case = SimpleNamespace(**runpy.run_path(str(CASE)))


def refused(monkeypatch, capsys, *arguments):
    """The one line that the tool leaves with."""
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(TOOL), run_name='__main__')
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_models_that_are_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ('a.py', 'a.onnx', 'notes.txt'):
        Path(name).write_text('')
    for given, words in (
        ('no.onnx', 'error: no.onnx: no such file; expected MODEL.onnx'),
        ('a.py=no.pth', 'error: no.pth: no such file; expected MODEL.onnx'),
        ('a.py=', 'no such file'),
        ('a.py', 'a config needs its checkpoint; expected a.py=CHECKPOINT.pth'),
        ('notes.txt', 'notes.txt: expected MODEL.onnx, MODEL.xml or CONFIG.py='),
        ('a.onnx=b.pth', 'a.onnx=b.pth: expected MODEL.onnx'),
    ):
        assert words in refused(monkeypatch, capsys, given)


def test_model_that_is_none(tmp_path, monkeypatch, capsys):
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(b'no model at all')
    line = refused(monkeypatch, capsys, broken)
    assert line.startswith('error: ')
    assert 'broken.onnx' in line


def test_limits_that_are_none(monkeypatch, capsys):
    line = refused(monkeypatch, capsys, 'a.onnx', '--max-queue', '0')
    assert line == 'error: queue=0; expected more than 0'


def test_sources(tmp_path):
    config, weights = tmp_path / 'c.py', tmp_path / 'w=1.pth'
    config.touch()
    weights.touch()
    source = ModelSource.parse(f'{config}={weights}')
    assert source == ModelSource(str(config), str(weights))
    with pytest.raises(DeployError, match='expected MODEL'):
        ModelSource.parse('folder')


@pytest.mark.parametrize(
    ('host', 'expected'),
    [
        ('127.0.0.1', True),
        ('127.5.0.1', True),
        ('::1', True),
        ('[::1]', True),
        ('localhost', True),
        ('0.0.0.0', False),
        ('::', False),
        ('192.168.1.5', False),
        ('example.org', False),
    ],
)
def test_is_loopback(host, expected):
    assert is_loopback(host) is expected


CONFIG = dict(
    default_scope='mmseg',
    crop_size=(32, 32),
    model=dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor', mean=[0] * 3, std=[255] * 3),
        backbone=dict(
            type='ResNetV1c',
            depth=18,
            base_channels=8,
            stem_channels=8,
            num_stages=1,
            strides=(1,),
            dilations=(1,),
            out_indices=(0,),
        ),
        decode_head=dict(
            type='FCNHead', in_channels=8, channels=8, num_convs=0, num_classes=2
        ),
        test_cfg=dict(mode='whole'),
    ),
    test_dataloader=dict(
        dataset=dict(
            type='BaseSegDataset',
            metainfo=dict(classes=('sound', 'rust'), palette=[[0, 0, 0], [9, 0, 0]]),
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=(32, 32), keep_ratio=False),
                dict(type='PackSegInputs'),
            ],
        )
    ),
)


def test_run(tmp_path):
    """A config with its checkpoint, for other machines too, stopped by SIGTERM."""
    cfg = Config(CONFIG)
    init_default_scope('mmseg')
    cfg.dump(tmp_path / 'rust.py')
    model = MODELS.build(cfg.model)
    torch.save({'state_dict': model.state_dict()}, tmp_path / 'best.pth')
    temporary = tmp_path / 'temporary'
    temporary.mkdir()

    def ours():
        # the others are PyTorch's own, tmp... of those before 2.3
        found = temporary.iterdir()
        return [p for p in found if not p.name.startswith(('torchinductor_', 'tmp'))]

    port = case.free_port()
    process = subprocess.Popen(
        [sys.executable, TOOL, 'rust.py=best.pth', '--backend', 'torch']
        + ['--host', '0.0.0.0', '--port', str(port), '--max-megapixels', '7']
        + ['--max-seconds', '9'],
        cwd=tmp_path,
        env={**os.environ, 'TMPDIR': str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        while line and not line.startswith('serving'):
            line = process.stdout.readline()
        assert str(port) in line
        page = httpx.get(f'http://127.0.0.1:{port}/').text
        assert 'rust' in page
        assert '7 megapixels' in page
        assert '9 seconds' in page
        assert {path.name[:18] for path in ours()} == {'fastsegformer-page'}
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert 'warning: 0.0.0.0 lets other machines in' in errors
    assert not ours()
