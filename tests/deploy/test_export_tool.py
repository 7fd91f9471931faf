"""The command: options, exit codes, what it prints."""

import json
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_cli.signals import handled_signals
from fastsegformer_mm.deploy.backends.artefact import read_card
from fastsegformer_mm.deploy.export.build import OnnxBuild

HERE = Path(__file__)
TOOL = HERE.parents[2] / 'tools' / 'deployment' / 'export.py'
tool = SimpleNamespace(**runpy.run_path(str(TOOL)))
case = SimpleNamespace(**runpy.run_path(str(HERE.with_name('export_case.py'))))


@pytest.fixture
def command(tmp_path):
    """The words in front of the options."""
    config, checkpoint = case.write_case(tmp_path)
    images, labels = case.write_frames(tmp_path)
    out = tmp_path / 'a.onnx'
    return [
        *(str(config), str(checkpoint), '--out', str(out), '--threads', '1'),
        *('--images', str(images), '--labels', str(labels)),
    ]


def test_a_model_is_written(command, tmp_path, capsys):
    options = ['--shape', '48', '80', '--with-post', '--num', '2']
    assert tool.main([*command, *options]) == 0
    printed = capsys.readouterr().out
    assert 'a.onnx: onnx, fp32' in printed
    assert 'mIoU after' in printed
    card = read_card(tmp_path / 'a.onnx')
    assert (card.shape, card.with_pre, card.with_post) == ((48, 80), False, True)
    report = json.loads((tmp_path / 'a.onnx.parity.json').read_text())
    assert report['images'] == 2


def test_outside_its_tolerance(command, tmp_path, capsys):
    assert tool.main([*command, '--tolerance', 'logits=0']) == 1
    captured = capsys.readouterr()
    assert 'equal pixels' in captured.out
    assert 'was not written: logits differ' in captured.err
    assert not (tmp_path / 'a.onnx').exists()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--format', 'openvino'], 'ends in .xml'),
        (['--shape', 'any'], "('any',); expected height and width"),
        (['--precision', 'bf16'], 'trtexec --bf16'),
        (['--cfg-options', 'model.decode_head.channels=9'], 'tiny.pth'),
    ],
)
def test_mistakes_are_one_line(command, options, words, capsys):
    assert tool.main([*command, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert words in error


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_stopped(command, tmp_path, number, capsys, monkeypatch):
    monkeypatch.setattr(
        OnnxBuild, 'run_network', lambda self: signal.raise_signal(number)
    )
    files = sorted(tmp_path.iterdir())
    with handled_signals():
        assert tool.main(command) == 130
    assert 'nothing was written' in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == files


def test_options_are_handed_on():
    words = 'c.py c.pth --out a.xml --shape dynamic --batch dynamic --split val'
    words += ' --no-reparameterize --calibration 5 --max-drop 0.3 --precision int8'
    args = tool.parse_args(words.split(' '))
    assert tool.shape_of(args.shape) == 'dynamic'
    assert tool.shape_of(None) is None
    assert (args.batch, args.calibration, args.max_drop) == ('dynamic', 5, 0.3)
    assert args.no_reparameterize
    assert args.split == 'val'
