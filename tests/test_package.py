"""The package's import: what it says when the stack is missing or unknown."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastsegformer_mm
from fastsegformer_mm import stack

ROOT = Path(__file__).resolve().parents[1]


def run(code):
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
    )


@pytest.mark.parametrize('module', ['torch', 'mmengine', 'mmcv', 'mmseg'])
def test_missing_stack_gives_both_install_lines(module):
    result = run(f'import sys; sys.modules[{module!r}] = None; import fastsegformer_mm')
    assert result.returncode == 1
    # the one error, not a chain ending elsewhere
    last = result.stderr[result.stderr.rindex('StackError') :]
    assert f'{module} is not installed' in last
    assert 'pip install "fastsegformer-mm[onedl]"' in last
    assert 'pip install "fastsegformer-mm[openmmlab]"' in last


@pytest.mark.parametrize(
    ('module', 'version'),
    [('mmengine', '0.7.4'), ('mmcv', '1.7.2'), ('mmseg', '2.0.0')],
)
def test_unsupported_version_is_named(monkeypatch, module, version):
    monkeypatch.setattr(f'{module}.__version__', version)
    with pytest.raises(stack.StackError) as error:
        stack.check_stack()
    first, end = stack.SUPPORTED[module]
    assert f'supports {module} >= {first}, < {end}' in str(error.value)
    assert f'found {module} {version}' in str(error.value)


def test_this_stack_is_supported():
    stack.check_stack()


def test_version_is_one_number():
    assert re.fullmatch(r'\d+\.\d+\.\d+', fastsegformer_mm.__version__)
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    assert f'## {fastsegformer_mm.__version__}' in changelog
