"""The config in a checkpoint: its values are taken, its code never runs."""

import doctest
import logging
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmseg.apis import MMSegInferencer, init_model

from fastsegformer_mm.engine.checkpoint import read_checkpoint
from robust_training import config_text
from robust_training.config_text import ConfigTextError, harmless_config, literals

ROOT = Path(__file__).resolve().parents[3]
tiny = SimpleNamespace(
    **runpy.run_path(str(ROOT / 'tests' / 'distillation' / 'tiny.py')))


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')


@pytest.fixture
def said():
    """What is logged, with its level."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def test_values():
    text = "model = dict(type='ReLU', slope=-0.5, more={'a-b': [1, (2,), {3}]})"
    cfg = literals(text + "\nx = None\ny = (True, 1e-3, 'it' 's', dict())\n# z = 1\n")
    assert cfg == dict(
        model=dict(type='ReLU', slope=-0.5, more={'a-b': [1, (2,), {3}]}),
        x=None, y=(True, 0.001, 'its', {}))


RAN = 'RAN'
CODE = {
    'import': f"import os\nos.mkdir('{RAN}')",
    'import from': f"from os import mkdir\nmkdir('{RAN}')",
    '__import__': f"a = __import__('os').mkdir('{RAN}')",
    'call': f"a = exec(\"open('{RAN}', 'w')\")",
    'call among keywords': f"a = dict(b=open('{RAN}', 'w'))",
    'call as a key': f"a = {{open('{RAN}', 'w').name: 1}}",
    'positional': f"a = dict([open('{RAN}', 'w').name])",
    'attribute': 'a = ().__class__.__bases__',
    'attribute assigned': 'a = dict()\na.b = 1',
    'f-string': f"a = f\"{{open('{RAN}', 'w')}}\"",
    'comprehension': f"a = [open('{RAN}', 'w') for _ in (1,)]",
    'dict(**x)': f"a = dict(**{{'b': open('{RAN}', 'w')}})",
    '{**x}': 'b = dict()\na = {**b}',
    '*x': f"a = [*open('{RAN}', 'w').name]",
    'lambda': f"a = (lambda: open('{RAN}', 'w'))()",
    'operator': "a = 'x' * 10 ** 9",
    'negative': 'a = -[]',
    'name': 'a = b',
    'ellipsis': 'a = ...',
    'walrus': f"a = (b := open('{RAN}', 'w'))",
    'def': f"def f(a=open('{RAN}', 'w')): pass",
    'class': f"class A:\n    open('{RAN}', 'w')",
    'decorator': f"@exec\ndef f(): open('{RAN}', 'w')",
    'if': f"if True:\n    open('{RAN}', 'w')",
    'dict replaced': f"dict = open\na = dict('{RAN}', 'w')",
    'two names': 'a = b = 1',
    'unpacked': 'a, b = 1, 2',
    'annotation': f"a: open('{RAN}', 'w') = 1",
    'expression': f"open('{RAN}', 'w')",
    'del': 'a = 1\ndel a',
    'base': "_base_ = './evil.py'",
    'bases': "_base_ = ['./evil.py']",
    'dunder': '__builtins__ = {}',
    'template': "a = '{{ fileDirname }}'",
    'environment': "a = '{{$HOME:}}'",
    'environment with code': f"a = '{{{{$NONE:\"+str(open(\"{RAN}\",\"w\"))+\"}}}}'",
    'base variable': "a = '{{_base_.a}}'",
    'unhashable key': 'a = {[]: 1}',
    'no Python': 'a = (',
    'null byte': 'a = 1\0',
    'nested': 'a = ' + '(' * 5000 + ')' * 5000,
    'digits': 'a = 0x' + 'f' * 5000,
}


@pytest.mark.parametrize('kind', CODE)
def test_code_is_left_out_and_does_not_run(kind, tmp_path, monkeypatch, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'evil.py').write_text(f"open('{RAN}', 'w')")
    text = CODE[kind]
    content = dict(
        meta=dict(cfg=text, config=text), message_hub=dict(runtime_info=dict(cfg=text)))
    assert harmless_config(content, 'best.pth') is content
    assert content['meta'] == dict(cfg_text=text, config_text=text)
    assert content['message_hub']['runtime_info'] == {}
    assert not (tmp_path / RAN).exists()
    # one line for three times the same text
    [(level, line)] = said
    assert level == 'WARNING'
    assert "checkpoint 'best.pth': the config in it is not used, as it holds " in line
    assert len(line) < 400


@pytest.mark.parametrize(('text', 'named'), [
    ("a = 1\nb = open('x')", "Call \"open('x')\" (line 2)"),
    ('import os', "Import 'import os' (line 1)"),
    ("a = '{{ x }}'", "a template '{{ x }}' (line 1)"),
    ("_base_ = 'a.py'", "'_base_' (line 1)")])
def test_what_was_found_is_named(text, named):
    with pytest.raises(ConfigTextError) as error:
        literals(text)
    assert str(error.value) == named


NAMES = {
    'a function': "model = dict(type='os.mkdir', path='RAN')",
    'a module': "model = dict(type='antigravity')",
    'a file here': "model = dict(type='evil')",
    'a package of the stack': "model = dict(type='mmengine.load', file='evil.pkl')",
    'a class of the stack': "model = dict(type='mmengine.Config', filename='evil.py')",
    'deep': "model = dict(a=[dict(b=(dict(type='subprocess.run', args=[]),))])",
    'scope': "default_scope = 'evil'",
    'inner scope': "model = dict(_scope_='evil', type='ResNet')",
    'scope of a type': "model = dict(type='evil.ResNet')",
    'no identifier': "model = dict(type='../evil')",
    'a config file': "model = dict(type='ResNet', teacher='evil.py')",
    'pickle': "model = dict(init_cfg=dict(checkpoint='unsafe-pickle://evil.pth'))",
}


@pytest.mark.parametrize('kind', NAMES)
def test_names_of_code_are_left_out(kind, tmp_path, monkeypatch, said):
    """MMEngine imports and calls a type that no registry has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / 'evil.py').write_text(f"open('{RAN}', 'w')")
    content = dict(meta=dict(cfg=NAMES[kind]))
    harmless_config(content, 'best.pth')
    assert content['meta'] == dict(cfg_text=NAMES[kind])
    assert 'evil' not in sys.modules
    assert not (tmp_path / RAN).exists()
    [(level, line)] = said
    assert level == 'INFO'
    assert 'is not used, as it holds' in line


def test_registered_names_stay(said):
    whole = 'mmseg.models.decode_heads.fcn_head.FCNHead'
    cfg = dict(
        default_scope='mmseg',
        model=dict(
            type='EncoderDecoder', _scope_='mmseg', head=dict(type=whole),
            data_preprocessor=dict(type='mmseg.SegDataPreProcessor'),
            norm_cfg=dict(type='BN'), optimizer=dict(type='mmengine.SGD')))
    content = dict(meta=dict(cfg=Config(cfg).pretty_text))
    harmless_config(content, 'a.pth')
    assert literals(content['meta']['cfg']) == cfg
    assert said == []


def test_imports_are_not_followed_and_told(said):
    text = "custom_imports = dict(imports=['torch', 'antigravity'])\na = 1\n"
    content = dict(meta=dict(cfg=text))
    harmless_config(content, 'a.pth')
    assert content['meta'] == dict(cfg='a = 1\n')
    assert 'antigravity' not in sys.modules
    [(level, line)] = said
    assert level == 'INFO'
    assert 'asks to import antigravity, which a checkpoint may not' in line


def test_contents_without_a_config():
    for content in (3, [1], {}, dict(meta=None, message_hub=[1]), dict(meta=[], a=1)):
        assert harmless_config(content, 'a.pth') is content
    # no text at all is no text to run
    assert harmless_config(dict(meta=dict(cfg=3)), 'a.pth') == dict(meta={})


CONFIGS = [
    path for folder in ('fastsegformer', 'swin_att_unet', 'comparison')
    for path in sorted((ROOT / 'configs' / folder).glob('*.py'))[:3]]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_configs_of_this_repository_come_through(path):
    text = Config.fromfile(path).pretty_text
    content = dict(meta=dict(cfg=text))
    harmless_config(content, 'a.pth')
    expected = Config.fromstring(text, '.py').to_dict()
    expected.pop('custom_imports')
    assert Config.fromstring(content['meta']['cfg'], '.py').to_dict() == expected


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Images, and the checkpoint of a training, as MMEngine writes both."""
    folder = tmp_path_factory.mktemp('trained')
    data = tiny.write_data(folder / 'data')
    tiny.runner(
        data, folder, iters=2, model=tiny.student(),
        visualizer=dict(type='SegLocalVisualizer')).train()
    return data, folder / 'iter_2.pth'


def test_inference_from_weights_alone(trained):
    data, path = trained
    inferencer = MMSegInferencer(model=None, weights=str(path), device='cpu')
    images = [str(data / 'images' / 'val' / f'{i}.png') for i in range(2)]
    found = inferencer(images, show=False)['predictions']
    cfg = Config(dict(model=tiny.student(), default_scope='mmseg'))
    model = init_model(cfg, str(path), device='cpu')
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, inferencer.model.state_dict()[name])
    assert len(found) == 2
    assert inferencer.model.dataset_meta['classes'] == tiny.CLASSES


def test_a_config_with_code_gives_no_network(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = read_checkpoint(trained[1])
    code = content['meta']['cfg'] + f"a = str(open('{RAN}', 'w'))\n"
    content['meta'].update(cfg=code)
    content['message_hub']['runtime_info']['cfg'] = code
    torch.save(content, 'evil.pth')
    with pytest.raises(ValueError, match='Cannot find the config'):
        MMSegInferencer(model=None, weights='evil.pth', device='cpu')
    assert not Path(RAN).exists()
    assert CheckpointLoader.load_checkpoint('evil.pth')['meta']['cfg_text'] == code
    # it could have run
    MMSegInferencer(model=None, weights='unsafe-pickle://evil.pth', device='cpu')
    assert Path(RAN).exists()


def test_docstring_example():
    assert doctest.testmod(config_text) == (0, 1)
