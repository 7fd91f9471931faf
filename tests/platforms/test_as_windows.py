"""Modules and tools without POSIX's modules and names, and paths of Windows."""

import ntpath
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest
from mmengine.runner import CheckpointLoader

from fastsegformer_mm.datasets.checks import html_report_pictures
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.page.models import ModelSource
from fastsegformer_mm.deploy.prediction import inputs

PROGRAM = Path(__file__).with_name('run_as_windows.py')


def test_modules_and_tools(tmp_path):
    command = [sys.executable, '-X', 'warn_default_encoding', PROGRAM, tmp_path]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    assert done.stdout.endswith('all as on Windows\n')


def test_posix_is_hidden_from_our_files_alone(tmp_path):
    probe = f"""
import windows
windows.install()
scope = {{'__file__': r'{PROGRAM.parents[2] / "tools/predict.py"}'}}
import fcntl, os
assert os.killpg
for text, error in (
    ('import fcntl', ModuleNotFoundError),
    ('from os import killpg', ImportError),
    ('import signal; signal.SIGHUP', AttributeError),
    ('import subprocess; subprocess.Popen("true", pass_fds=[1])', AssertionError),
    ('import multiprocessing as m; m.get_context("fork")', AssertionError),
    ('open("{tmp_path / "a"}", "w")', AssertionError),
):
    try:
        exec(compile(text, scope['__file__'], 'exec'), scope)
    except error:
        continue
    raise SystemExit(f'{{text}} did not fail')
exec('import os, sys, platform as p; assert os.name == "nt"', scope)
exec('assert (sys.platform, p.system()) == ("win32", "Windows")', scope)
"""
    command = [sys.executable, '-X', 'warn_default_encoding', '-c', probe]
    done = subprocess.run(
        command, cwd=PROGRAM.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def windows_paths(monkeypatch):
    """What is parsed and joined in the inputs of predictions is of Windows."""
    monkeypatch.setattr(inputs, 'os', SimpleNamespace(path=ntpath, sep='\\', name='nt'))


def test_names_of_results(windows_paths):
    files = [r'C:\belt\a b.png', r'C:\belt\line1\x.png', r'C:\belt\line1\x.jpg']
    sources, failures = inputs._named(files, 'C:\\belt')
    assert failures == []
    assert [(s.origin, s.name) for s in sources] == [
        ('a b.png', 'a b'),
        ('line1/x.png', 'line1/x_png'),
        ('line1/x.jpg', 'line1/x_jpg'),
    ]
    assert [s.path for s in sources] == files


def test_a_drive_is_no_address(windows_paths, monkeypatch):
    asked = []

    def files(text, search):
        asked.append(text)
        return [text], ntpath.dirname(text)

    monkeypatch.setattr(inputs, '_files', files)
    found = inputs.find_inputs([r'C:\belt\a.png', r'c:\belt\b.mp4', 'C:/belt/c.png'])
    assert asked == [r'C:\belt\a.png', r'c:\belt\b.mp4', 'C:/belt/c.png']
    assert [s.kind for s in found.sources] == ['image', 'video', 'image']
    assert [s.origin for s in found.sources] == ['a.png', 'b.mp4', 'c.png']
    with pytest.raises(DeployError, match='the inputs lie on several drives'):
        inputs.find_inputs([r'C:\belt\a.png', r'D:\belt\b.png'])


def test_outputs_of_an_address_are_names_that_windows_takes():
    source = inputs.find_inputs(['rtsp://user:key@10.0.0.5:554/a?b=1*']).sources[0]
    assert not set(source.name) & set('<>:"/\\|?*')


def test_a_config_and_its_checkpoint_on_drives(monkeypatch):
    monkeypatch.setattr(Path, 'is_file', lambda self: True)
    source = ModelSource.parse(r'C:\line\rust.py=D:\best.pth')
    assert (source.model, source.checkpoint) == (r'C:\line\rust.py', r'D:\best.pth')


def test_a_drive_is_no_scheme_of_a_checkpoint():
    for path in (r'C:\best.pth', r's3\best.pth', 'C:/best.pth'):
        loader = CheckpointLoader._get_checkpoint_loader(path)
        assert loader.__name__ == 'load_from_local'


def test_pictures_of_a_report_are_paired(monkeypatch):
    monkeypatch.setattr(html_report_pictures, 'Path', PureWindowsPath)
    (start, end), (label_start, label_end) = html_report_pictures._pattern(
        r'C:\set/images\train\a.jpg', r'C:\set/labels\train\a.png'
    )
    stem = html_report_pictures._between(r'C:\set\images\train\b.jpg', start, end)
    assert label_start + stem + label_end == 'C:/set/labels/train/b.png'
