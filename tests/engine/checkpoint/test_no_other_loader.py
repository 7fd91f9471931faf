"""Nothing in the project unpickles a file, but read_checkpoint."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = ('fastsegformer_mm', 'tools', 'configs', 'projects', 'docs')

# what may run code that a file holds, or loads past read_checkpoint
BANNED = {
    'torch.load',
    'torch.serialization.load',
    'torch.jit.load',
    'torch.hub.load',
    'torch.hub.load_state_dict_from_url',
    'torch.utils.model_zoo.load_url',
    'torch.package.PackageImporter',
    'mmengine.utils.dl_utils.load_url',
    'mmengine.runner.checkpoint.load_from_local',
    'mmengine.runner.checkpoint.load_from_http',
    'joblib.load',
    'pandas.read_pickle',
    'numpy.lib.format.read_array',
}
MODULES = ('pickle', '_pickle', 'cPickle', 'dill', 'cloudpickle', 'shelve', 'marshal')
# they take a file or bytes apart; to write is no harm
SAFE = dict(allow_pickle=False, weights_only=True)
UNPICKLES = ('load', 'loads', 'open', 'Unpickler', '_Unpickler', 'Shelf')


def loaders(source: str) -> list[str]:
    """Full names of all that unpickles, by whatever name it was imported."""
    tree = ast.parse(source)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                whole = a.name if a.asname else a.name.split('.')[0]
                names[a.asname or whole] = whole
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for a in node.names:
                names[a.asname or a.name] = f'{node.module}.{a.name}'

    def full_name(node):
        if isinstance(node, ast.Name):
            return names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f'{full_name(node.value)}.{node.attr}'
        if isinstance(node, ast.Call) and full_name(node.func) == 'getattr':
            # as good as an attribute
            target, name = node.args[:2]
            if isinstance(name, ast.Constant):
                return f'{full_name(target)}.{name.value}'
        return ''

    found = []
    for node in ast.walk(tree):
        name = full_name(node)
        module, _, last = name.rpartition('.')
        if name in BANNED or (module in MODULES and last in UNPICKLES):
            found.append(name)
        elif isinstance(node, ast.ImportFrom):
            found += [
                f'{node.module}.{a.name}'
                for a in node.names
                if f'{node.module}.{a.name}' in BANNED
                or (node.module in MODULES and a.name in UNPICKLES)
            ]
        elif isinstance(node, ast.keyword):
            # a variable may have any value
            safe = SAFE.get(node.arg)
            if safe is not None and getattr(node.value, 'value', None) is not safe:
                found.append(node.arg)
    return found


@pytest.mark.parametrize(
    ('source', 'found'),
    [
        ('import torch\ntorch.load(f)', ['torch.load']),
        ('import torch as t\nx = t.load', ['torch.load']),
        ('from torch import load\nload(f)', ['torch.load', 'torch.load']),
        ('from torch import load as read', ['torch.load']),
        (
            'from torch import serialization as s\ns.load(f)',
            ['torch.serialization.load'],
        ),
        ("import torch\ngetattr(torch, 'load')(f)", ['torch.load']),
        (
            'import torch.hub\ntorch.hub.load_state_dict_from_url(u)',
            ['torch.hub.load_state_dict_from_url'],
        ),
        (
            'from torch.utils import model_zoo\nmodel_zoo.load_url(u)',
            ['torch.utils.model_zoo.load_url'],
        ),
        ('import pickle\npickle.loads(b)\npickle.dumps(b)', ['pickle.loads']),
        ('import pickle as p\np.Unpickler(f).load()', ['pickle.Unpickler']),
        ('import joblib\njoblib.load(f)', ['joblib.load']),
        ('import numpy as np\nnp.load(f, allow_pickle=True)', ['allow_pickle']),
        ('import numpy as np\nnp.load(f, allow_pickle=False)\nnp.load(f)', []),
        ('read(f, weights_only=flag)', ['weights_only']),
        ('import json, torch\njson.load(f)\ntorch.save(x, f)', []),
        ('from .read import load\nload(f)', []),
    ],
)
def test_what_is_found(source, found):
    assert sorted(loaders(source)) == sorted(found)


def test_read_checkpoint_is_the_one_loader():
    files = [p for part in PARTS for p in sorted((ROOT / part).rglob('*.py'))]
    assert len(files) > 200
    found = {}
    for path in files:
        here = loaders(path.read_text(encoding='utf-8'))
        if here:
            found[path.relative_to(ROOT).as_posix()] = sorted(here)
    folder = 'fastsegformer_mm/engine/checkpoint'
    assert found == {
        # unsafe-pickle://
        f'{folder}/read.py': ['torch.load', 'weights_only'],
        # with torch's allow-list, and by the restricted unpickler
        f'{folder}/safe_globals.py': ['torch.load', 'torch.load', 'weights_only'],
        f'{folder}/unpickler.py': ['pickle._Unpickler', 'pickle._Unpickler'],
    }
