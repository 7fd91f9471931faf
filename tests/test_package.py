"""The package's import: what it says when the stack is missing or unknown."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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
    [('mmengine', '0.7.4'), ('mmcv', '1.7.2'), ('mmcv', '2.2.0'), ('mmseg', '2.0.0')],
)
def test_unsupported_version_is_named(monkeypatch, module, version):
    monkeypatch.setattr(f'{module}.__version__', version)
    with pytest.raises(stack.StackError) as error:
        stack.check_stack()
    assert f'supports {module}{stack.SUPPORTED[module]};' in str(error.value)
    assert f'found {module} {version}' in str(error.value)


def test_this_stack_is_supported():
    stack.check_stack()


def test_mmsegmentation_without_mmcvs_operators():
    """Upstream's looks for three as it is imported; nobody else finds stand-ins."""
    if importlib.util.find_spec('mmcv._ext'):
        pytest.skip('this mmcv has its operators')
    result = run(
        'import sys, fastsegformer_mm, mmseg.apis, mmseg.models\n'
        "print([m for m in sys.modules if m.startswith('mmcv.ops')])\n"
        'import mmcv.ops'
    )
    assert result.stdout.endswith('[]\n')
    assert "ModuleNotFoundError: No module named 'mmcv._ext'" in result.stderr


def test_tools_import_this_package_before_mmsegmentation():
    """Which upstream's with mmcv-lite needs; only its registry imports by itself."""
    mmseg = re.compile(r'(import|from) mmseg\.(?!registry)')
    ours = re.compile(r'(import|from) (fastsegformer_mm|robust_training)')
    seen = []
    for path in sorted(ROOT.glob('tools/**/*.py')):
        text = path.read_text(encoding='utf-8')
        found = mmseg.search(text)
        if found:
            seen.append(path.name)
            first = ours.search(text)
            assert first, path
            assert first.start() < found.start(), path
    assert seen == ['gradient_table.py', 'overlay_sheet.py', 'color_masks_to_index.py']


def test_stand_ins_for_mmcvs_operators():
    image = torch.arange(4.0).reshape(1, 1, 2, 2)
    points = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]])
    assert stack._point_sample()(image, points).tolist() == [[[2.0, 1.5]]]
    with pytest.raises(stack.StackError, match=r'FocalLoss on a GPU .*\(mmcv-lite\)'):
        stack._sigmoid_focal_loss(image, points)


def test_version_is_one_number():
    assert re.fullmatch(r'\d+\.\d+\.\d+', fastsegformer_mm.__version__)
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    assert f'## {fastsegformer_mm.__version__}' in changelog
