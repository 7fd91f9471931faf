"""MMRazor as it is imported, replaced in part, and missed."""

import base64
import doctest
import hashlib
import importlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import mmcv
import pytest
import torch

from fastsegformer_mm import compat

ROOT = Path(__file__).resolve().parents[1]
INSTALL = 'pip install "fastsegformer-mm[razor]"'

# Everything that needs a fresh process and MMRazor, in one: a process takes seconds.
IMPORTED = """
import json, sys
import mmcv, mmengine, torch

def versions():
    return [str(x) for x in (mmcv.__version__, mmcv.version.__version__,
                             mmengine.__version__, torch.__version__)]

def refusal(touch):
    try:
        return 'no error: ' + repr(touch())
    except Exception as error:
        return type(error).__name__ + ': ' + str(error)

before = versions()
from fastsegformer_mm.compat import import_mmrazor

early = [m for m in sys.modules if m.partition('.')[0] == 'mmrazor']
mmrazor = import_mmrazor()
parts = sorted(m for m in sys.modules if m.startswith('mmrazor.') and m.count('.') == 1)
modules = {k: id(v) for k, v in sys.modules.items() if k.startswith('mmrazor')}
again = import_mmrazor()

import mmrazor.structures as structures
import mmrazor.structures.quantization.backend_config.native as native
from mmrazor.models import SingleTeacherDistill
from mmrazor.registry import HOOKS, MODELS
from mmrazor.structures.quantization import QConfigHandler

out = dict(
    before=before, after=versions(), early=early, parts=parts,
    mmrazor_version=mmrazor.__version__,
    mmcv_version=mmrazor.mmcv_version,
    true_mmcv_version=mmrazor.digit_version(mmcv.__version__),
    same=again is mmrazor and modules == {k: id(sys.modules[k]) for k in modules},
    named=[isinstance(1, QConfigHandler), QConfigHandler.__name__],
    registered=[name in MODELS for name in (
        'SingleTeacherDistill', 'ConfigurableDistiller', 'ConvModuleConnector',
        'ChannelWiseDivergence', 'FBKDStudentConnector', 'BigNAS')]
        + ['StopDistillHook' in HOOKS],
    refusals=dict(
        called=refusal(lambda: QConfigHandler({})),
        indexed=refusal(lambda: QConfigHandler['x']),
        asked=refusal(lambda: QConfigHandler.check_qconfig),
        deep=refusal(lambda: native.get_native_backend_config()),
        by_attribute=refusal(
            lambda: mmrazor.structures.quantization.BackendConfigs['native']),
        built=refusal(lambda: MODELS.build(dict(
            type='mmrazor.TorchNativeQuantizer', global_qconfig=dict()))),
    ),
)
print(json.dumps(out))
"""

# Neither is found on the path, as where it was never installed.
ABSENT = """
import json, sys, traceback
from importlib.machinery import PathFinder

hidden = set()
find_spec = PathFinder.find_spec

def without_hidden(name, *args, **kwargs):
    return None if name in hidden else find_spec(name, *args, **kwargs)

PathFinder.find_spec = without_hidden

def failure(name):
    hidden.clear()
    hidden.add(name)
    try:
        import fastsegformer_mm.distillation
    except ImportError:
        return traceback.format_exc()

hidden.update(['mmrazor', 'joblib'])
import fastsegformer_mm
from mmseg.registry import MODELS

print(json.dumps(dict(
    alone='FastSegFormerHead' in MODELS,
    mmrazor=failure('mmrazor'), joblib=failure('joblib'))))
"""


def run(code):
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def imported():
    return run(IMPORTED)


@pytest.fixture(scope='module')
def absent():
    return run(ABSENT)


def test_imports_the_whole(imported):
    assert imported['early'] == []  # importing compat alone imports none of it
    assert {f'mmrazor.{part}' for part in compat.PARTS} <= set(imported['parts'])
    assert compat.PARTS == ('models', 'engine', 'datasets', 'implementations')
    assert all(imported['registered'])


def test_versions_stay_as_they_were(imported):
    assert imported['after'] == imported['before']
    assert imported['mmrazor_version'] == '1.0.0'
    # the one that MMRazor keeps is the true one, not the one it was shown
    assert imported['mmcv_version'] == imported['true_mmcv_version']
    assert importlib.metadata.version('mmrazor') == '1.0.0'


def test_importing_twice_changes_nothing(imported):
    assert imported['same']


def test_no_file_of_mmrazor_is_changed(imported):
    # as listed, with its hash, by the wheel that it was installed from
    files = importlib.metadata.files('mmrazor')
    sources = [f for f in files if f.suffix == '.py' and f.hash]
    assert len(sources) > 400
    for file in sources:
        digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
        value = base64.urlsafe_b64encode(digest).rstrip(b'=').decode()
        assert value == file.hash.value, file


def test_quantization_can_be_named_and_not_used(imported):
    assert imported['named'] == [False, 'QConfigHandler']
    names = {
        'called': 'QConfigHandler',
        'indexed': 'QConfigHandler',
        'asked': 'QConfigHandler',
        'deep': 'get_native_backend_config',
        'by_attribute': 'BackendConfigs',
        'built': 'QConfigHandler',
    }
    for how, name in names.items():
        message = imported['refusals'][how]
        assert message.startswith('MMRazorError: '), how
        assert f"MMRazor's quantization ({name})" in message
        assert f'torch {torch.__version__} does not have' in message
        assert 'the rest of MMRazor works' in message


def test_without_mmrazor_there_is_one_error_and_the_rest_works(absent):
    assert absent['alone']
    text = absent['mmrazor']
    assert text.count('Traceback') == 1
    assert text.strip().splitlines()[-1] == (
        'fastsegformer_mm.compat.MMRazorError: distillation needs MMRazor, which is '
        f'not installed: {INSTALL}, or pip install mmrazor==1.0.0 joblib'
    )


def test_a_package_that_mmrazor_does_not_declare_is_named(absent):
    text = absent['joblib']
    assert text.count('compat.MMRazorError: ') == 1
    assert text.strip().splitlines()[-1] == (
        'fastsegformer_mm.compat.MMRazorError: distillation needs MMRazor, which '
        f'needs joblib, which is not installed: {INSTALL}, or pip install joblib'
    )


@pytest.fixture
def fake_mmrazor(tmp_path, monkeypatch):
    """Another MMRazor on the path, of a few lines, for this test alone."""
    for name in [m for m in sys.modules if m.partition('.')[0] == 'mmrazor']:
        monkeypatch.delitem(sys.modules, name)
    quantization = 'structures/quantization'
    files = {
        '__init__': CHECKS_VERSION,
        'structures/__init__': 'from .quantization import *',
        f'{quantization}/__init__': 'from .qconfig import *',
        f'{quantization}/qconfig': 'class QConfigHandler:\n    bits = 8',
        **{f'{part}/__init__': '' for part in compat.PARTS},
        'models/__init__': (
            'from mmrazor.structures.quantization import QConfigHandler\n'
            'def bits(handler: QConfigHandler):\n    return handler.bits'
        ),
    }

    def write(**changes):
        for name, text in {**files, **changes}.items():
            path = tmp_path / 'mmrazor' / f'{name}.py'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in [m for m in sys.modules if m.partition('.')[0] == 'mmrazor']:
        del sys.modules[name]


CHECKS_VERSION = """
import mmcv
from mmengine.utils import digit_version

mmcv_version = digit_version(mmcv.__version__)
assert mmcv_version <= digit_version('2.1.0')
"""


def test_an_mmrazor_that_imports_by_itself_is_left_alone(fake_mmrazor, tmp_path):
    fake_mmrazor()
    mmrazor = compat.import_mmrazor()
    assert mmrazor.__file__ == str(tmp_path / 'mmrazor' / '__init__.py')
    names = {m for m in sys.modules if m.partition('.')[0] == 'mmrazor'}
    assert len(names) == 8
    for name in names:
        assert Path(sys.modules[name].__file__).is_relative_to(tmp_path)
    assert mmrazor.structures.QConfigHandler().bits == 8
    assert mmrazor.models.bits(mmrazor.structures.QConfigHandler) == 8


@pytest.mark.parametrize(
    'failure', ['import torch.no_such_module', 'import torch; torch.no_such_name']
)
def test_a_quantization_that_torch_breaks_is_replaced(fake_mmrazor, failure):
    fake_mmrazor(**{'structures/quantization/qconfig': failure})
    mmrazor = compat.import_mmrazor()
    handler = mmrazor.models.QConfigHandler
    assert handler is not None
    with pytest.raises(compat.MMRazorError, match=r'quantization \(QConfigHandler\)'):
        mmrazor.models.bits(handler)
    assert mmrazor.structures.quantization.qconfig is sys.modules[
        'mmrazor.structures.quantization.qconfig'
    ]
    assert compat.import_mmrazor().models.QConfigHandler is handler


def test_another_failure_of_quantization_is_not_hidden(fake_mmrazor):
    fake_mmrazor(**{'structures/quantization/qconfig': '1 / 0'})
    with pytest.raises(ZeroDivisionError):
        compat.import_mmrazor()


@pytest.mark.parametrize('found', ['2.0.0', '2.1.0', '2.3.6', '3.0.0'])
def test_the_version_is_shown_only_while_mmrazor_looks(
    fake_mmrazor, monkeypatch, found
):
    monkeypatch.setattr(mmcv, '__version__', found)
    fake_mmrazor(**{'models/__init__': 'import mmcv; v = mmcv.__version__'})
    mmrazor = compat.import_mmrazor()
    assert mmrazor.models.v == found
    assert mmcv.__version__ == found
    assert mmrazor.mmcv_version[:3] == tuple(map(int, found.split('.')))


def test_the_version_comes_back_where_mmrazor_refuses(fake_mmrazor, monkeypatch):
    monkeypatch.setattr(mmcv, '__version__', '2.3.6')
    fake_mmrazor(__init__='import mmcv; raise AssertionError(mmcv.__version__)')
    with pytest.raises(AssertionError, match=r'2\.1\.0'):
        compat.import_mmrazor()
    assert mmcv.__version__ == '2.3.6'


def test_docstring_example():
    result = doctest.testmod(compat)
    assert (result.attempted, result.failed) == (1, 0)
