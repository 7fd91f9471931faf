"""Each tool with the packages of one extra alone, the others' being away."""

import ast
import importlib
import importlib.metadata
import os
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / 'tools'
STACKS = ('onedl', 'openmmlab')
# what each extra is for; every other tool needs the stack alone
PROMISED = {
    'razor': (
        'analysis_tools/benchmark_distill.py',
        'analysis_tools/compare_distillation.py',
        'analysis_tools/gradient_table.py',
    ),
    'deploy': ('analysis_tools/benchmark.py', 'deployment/export.py'),
    'page': ('demo/app.py',),
    'ray': ('predict_ray.py',),
}
# modules that tools run in processes of their own
WORKERS = {
    'razor': ('fastsegformer_mm.distillation.comparison.worker',),
    'deploy': ('fastsegformer_mm.deploy.benchmark.worker',),
}
# NNCF needs it as well, by way of others
SHARED = {'joblib': ('deploy', 'page', 'ray')}


def packages(extra):
    """Names of the modules that an extra brings."""
    found = set()
    for line in importlib.metadata.requires('fastsegformer-mm'):
        need = Requirement(line)
        marked = need.marker is not None and 'extra' in str(need.marker)
        if marked and need.marker.evaluate({'extra': extra}):
            found.add(need.name.replace('-', '_'))
    return found


def absent(extra):
    """What the other extras would bring; None stands for no extra."""
    away = set().union(*(packages(name) for name in PROMISED))
    away -= packages(extra) if extra else set()
    return {name for name in away if extra not in SHARED.get(name, ())}


def tools_of(extra):
    if extra:
        return [TOOLS / name for name in PROMISED[extra]]
    others = {TOOLS / name for names in PROMISED.values() for name in names}
    return sorted({*TOOLS.glob('*.py'), *TOOLS.glob('*/*.py')} - others)


def imports(tool):
    """(module, name or None) of each import of a file, wherever it stands."""
    package = tool.parent.name if (tool.parent / '__init__.py').is_file() else ''
    for node in ast.walk(ast.parse(tool.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ''
            if node.level:
                module = f'{package}.{module}'.rstrip('.')
            yield from ((module, alias.name) for alias in node.names)


def main(extra):
    """Import all that the tools of an extra name; prints what does not go."""
    away = absent(extra)
    find_spec = PathFinder.find_spec

    def without(name, *args, **kwargs):
        return None if name in away else find_spec(name, *args, **kwargs)

    PathFinder.find_spec = without
    sys.path[:0] = [str(ROOT), str(TOOLS)]
    sys.path += [str(p) for p in ROOT.glob('projects/*') if (p / p.name).is_dir()]
    wanted = {pair: tool for tool in tools_of(extra) for pair in imports(tool)}
    wanted.update(((name, None), 'its worker') for name in WORKERS.get(extra, ()))
    for (module, name), tool in wanted.items():
        try:
            found = importlib.import_module(module)
            if name and not hasattr(found, name):
                importlib.import_module(f'{module}.{name}')
        except ImportError as error:
            print(f'FAILED {tool}: {module}: {error}')
    print(f'looked at {len(wanted)}')


@pytest.mark.parametrize('extra', [None, *PROMISED])
def test_tools_with_one_extra_alone(extra):
    assert not extra or packages(extra)
    done = subprocess.run(
        [sys.executable, __file__, *([extra] if extra else [])],
        capture_output=True,
        text=True,
        env=dict(os.environ, OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES=''),
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert 'looked at' in done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith('FAILED')]
    assert failed == []


if __name__ == '__main__':
    main(sys.argv[1] if len(sys.argv) > 1 else None)
