"""What messages, docstrings and guides name exists: tools, modules, attributes."""

import ast
import importlib
import re
from pathlib import Path

import pytest

from fastsegformer_cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = [p for p in ROOT.glob('projects/*') if (p / p.name).is_dir()]
SOURCES = sorted(
    path
    for folder in ('fastsegformer_mm', 'tools', *PROJECTS)
    for path in (ROOT / folder).rglob('*.py')
    if not {'tests', 'configs'} & set(path.relative_to(ROOT).parts)
)
SOURCES += [ROOT / 'README.md', *ROOT.glob('docs/*.md'), *ROOT.glob('projects/*/*.md')]
PACKAGES = '|'.join(['fastsegformer_mm', *(p.name for p in PROJECTS)])
TOOL = re.compile(r'\btools/[\w/]+\.py\b')
MODULE = re.compile(rf'(?<![\w/.])(?:{PACKAGES})(?:\.[A-Za-z_]\w*)+')
COMMAND = re.compile(r'\bpython -m ([a-z_][\w.]*\w)')
SUBCOMMAND = re.compile(r'(?:^|\n|`) *fastsegformer ([a-z][a-z-]+)')
# of a command that is spoken of, not of ours
OTHERS = ('pip', 'mim', 'torch.distributed.run')


def texts(path):
    """Each string of a file, with parts of one message joined, and its line."""
    if path.suffix == '.md':
        yield from enumerate(path.read_text(encoding='utf-8').splitlines(), 1)
        return
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.JoinedStr):
            parts = (
                v.value if isinstance(v, ast.Constant) else '\0' for v in node.values
            )
            yield node.lineno, ''.join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def named(pattern):
    """{name: the first place that names it} in all sources."""
    found = {}
    for path in SOURCES:
        for line, text in texts(path):
            for match in pattern.finditer(text):
                name = match.group(1) if pattern.groups else match.group()
                found.setdefault(name, f'{path.relative_to(ROOT)}:{line}')
    return found


def exists(name):
    """Whether a dotted name is a module, or an attribute of one."""
    parts = name.split('.')
    for count in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part, None)
        return found is not None
    return False


@pytest.mark.parametrize(
    'pattern', [TOOL, MODULE, COMMAND], ids=['tool', 'module', '-m']
)
def test_exists(pattern):
    found = named(pattern)
    assert len(found) > (2 if pattern is COMMAND else 10)
    wrong = []
    for name, place in found.items():
        if pattern is TOOL:
            right = (ROOT / name).is_file()
        else:
            right = name in OTHERS or exists(name)
        if not right:
            wrong.append(f'{place} names {name}')
    assert wrong == []


def test_subcommands():
    found = named(SUBCOMMAND)
    assert {'predict', 'export', 'check-data'} <= set(found)
    assert {name: place for name, place in found.items() if name not in COMMANDS} == {}
