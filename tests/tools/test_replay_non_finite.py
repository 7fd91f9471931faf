"""The command that computes an iteration without a finite loss again."""

import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from fastsegformer_mm.engine.non_finite.diagnosis import NonFiniteLossError

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/analysis_tools/replay_non_finite.py'
tiny = SimpleNamespace(
    **runpy.run_path(str(ROOT / 'tests/engine/non_finite/tiny_training.py')))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A config, and the file of an image with a huge value."""
    monkeypatch.setattr(Config, 'pretty_text', property(lambda self: ''))
    tiny.set_up()
    runner = tiny.run(
        tmp_path, [1, -2], {}, value=3e38, before=tiny.enlarge, train=False)
    with pytest.raises(NonFiniteLossError):
        runner.train()
    config = tmp_path / 'config.py'
    config.write_text("model = dict(type='TinyTwoLosses')\n")
    return config, tmp_path / 'non_finite/iter_2.pth'


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['replay_non_finite.py', *map(str, arguments)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise


def test_names_the_module(files, monkeypatch, capsys):
    call(monkeypatch, *files)
    out = capsys.readouterr().out
    assert out.startswith(
        'iteration 2 (epoch 1)\n  images/2-0.jpg (label labels/2-0.png)\n')
    for name in ('loss', 'loss_ce', 'loss_aux'):
        assert re.search(rf'\| {name} +\| nan +\| nan +\| not finite \|', out)
    assert re.search(r'images: -\d\.\d+ to 3e\+38\nweights: finite\n', out)
    assert re.search(
        r'first not finite: stem\.0 \(Conv2d\)\n  given: -\d\.\d+ to 3e\+38\n'
        r'  gave: -\d+\.?\d* to \d+\.?\d*, \d+ infinite\n', out)


def test_not_reproduced(files, monkeypatch):
    config, file = files
    content = torch.load(file, weights_only=True)
    content['batch']['inputs'][1].zero_()
    torch.save(content, file)
    with pytest.raises(SystemExit, match='not reproduced: other losses are finite'):
        call(monkeypatch, config, file)


def test_errors_and_options(files, monkeypatch):
    """One line; an option that does not fit the weights is read."""
    config, file = files
    with pytest.raises(SystemExit, match=r'error: .*absent\.pth'):
        call(monkeypatch, config, file.with_name('absent.pth'))
    with pytest.raises(TypeError, match='no_such_argument'):
        call(monkeypatch, config, file, '--cfg-options', 'model.no_such_argument=1')
    with pytest.raises(RuntimeError, match=r'(?i)meta'):
        call(monkeypatch, config, file, '--device', 'meta')
