"""The config in a checkpoint, made harmless.

A config file is Python. MMEngine runs the one that a checkpoint carries: in
``meta['config']`` when it resumes, in ``message_hub`` or ``meta['cfg']`` when an
inferencer is given weights alone. Here the text is parsed without running it, and
what MMEngine gets is written anew from the values found.
"""

import ast
import importlib.util
import logging
import pprint
import sys

from mmengine import registry
from mmengine.logging import print_log

from fastsegformer_mm.engine.checkpoint.read import UNSAFE

# what parsing and writing of odd texts raises: no Python, null bytes, lists as keys of
# a dict, thousands of brackets or digits
ODD = (SyntaxError, ValueError, TypeError, RecursionError, MemoryError)


class ConfigTextError(ValueError):
    """A config that holds more than values."""


class ConfigNameError(ConfigTextError):
    """A config of values that names code."""


def harmless_config(content, name):
    """Rewrite the configs of a checkpoint, or take them out, with a line in the log.

    Args:
        content: What the checkpoint holds; changed in place. A text that is taken out
            of ``meta`` stays there as ``cfg_text`` or ``config_text``.
        name (str): The checkpoint in messages: its path or URL.

    Returns:
        ``content``.
    """
    if not isinstance(content, dict):
        return content
    hub = content.get('message_hub')
    places = [(hub.get('runtime_info') if isinstance(hub, dict) else None, 'cfg')]
    places += [(content.get('meta'), key) for key in ('cfg', 'config')]
    results = {}
    for place, key in places:
        if not isinstance(place, dict) or key not in place:
            continue
        text = place.pop(key)
        if not isinstance(text, str):
            continue
        if text not in results:
            results[text] = _rewritten(text, name)
        if results[text] is not None:
            place[key] = results[text]
        elif place is content.get('meta'):
            place[f'{key}_text'] = text
    return content


def _rewritten(text, name):
    where = f'checkpoint {str(name)!r}: the config in it'
    try:
        cfg = literals(text)
        imports = cfg.pop('custom_imports', None)
        check_names(cfg)
        lines = [
            f'{key} = {pprint.pformat(value, width=88, sort_dicts=False)}\n'
            for key, value in cfg.items()
        ]
    except ODD as error:
        known = isinstance(error, ConfigTextError)
        found = error if known else f'no Python ({type(error).__name__}: {error})'
        # such as a distillation's, which names its teacher's config file
        usual = isinstance(error, ConfigNameError)
        print_log(
            f'{where} is not used, as it holds {found}; of a checkpoint only values '
            'are taken. To infer from it, give the config file',
            'current',
            logging.INFO if usual else logging.WARNING,
        )
        return None
    absent = [m for m in _modules(imports) if m not in sys.modules]
    if absent:
        print_log(
            f'{where} asks to import {", ".join(absent)}, which a checkpoint may not. '
            'To build its network by it, import that first if you trust it',
            'current',
            logging.INFO,
        )
    return ''.join(lines)


def _modules(imports):
    found = imports.get('imports') if isinstance(imports, dict) else None
    found = [found] if isinstance(found, str) else found or []
    return [m for m in found if isinstance(m, str)]


def literals(text: str) -> dict:
    """Read a config of plain values, without running it.

    Args:
        text (str): Assignments of numbers, strings, ``None``, ``True``, ``False``,
            lists, tuples, sets, dicts and calls of ``dict`` with keywords.

    Returns:
        dict: The values by their names.

    Raises:
        ConfigTextError: Names what else there is, and its line.
        SyntaxError: It is no Python; other :data:`ODD` errors on odd texts.

    Example:
        >>> literals("model = dict(type='ReLU', slope=-0.5)\\nsizes = [(1, 2)]")
        {'model': {'type': 'ReLU', 'slope': -0.5}, 'sizes': [(1, 2)]}
    """
    cfg = {}
    for node in ast.parse(text).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if not isinstance(target, ast.Name) or len(node.targets) > 1:
            raise _found(node)
        # MMEngine reads other files by this one
        if target.id == '_base_' or target.id.startswith('__'):
            raise ConfigTextError(f'{target.id!r} (line {node.lineno})')
        cfg[target.id] = _value(node.value)
    return cfg


def _value(node):
    match node:
        case ast.Constant(value=str() as value):
            # MMEngine replaces it in the text: by a path, or an environment variable
            if '{{' in value:
                raise ConfigTextError(f'a template {value!r} (line {node.lineno})')
            return value
        case ast.Constant() if node.value is not Ellipsis:
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float())):
            return -node.operand.value
        case ast.List():
            return [_value(child) for child in node.elts]
        case ast.Tuple():
            return tuple(_value(child) for child in node.elts)
        case ast.Set():
            return {_value(child) for child in node.elts}
        case ast.Dict() if None not in node.keys:
            return {_value(k): _value(v) for k, v in zip(node.keys, node.values)}
        case ast.Call(func=ast.Name(id='dict'), args=[]):
            if all(keyword.arg for keyword in node.keywords):
                return {k.arg: _value(k.value) for k in node.keywords}
    raise _found(node)


def _found(node):
    text = ast.unparse(node)
    kind = {'Expr': 'an expression'}.get(type(node).__name__, type(node).__name__)
    short = text if len(text) <= 60 else f'{text[:60]}...'
    return ConfigTextError(f'{kind} {short!r} (line {node.lineno})')


def check_names(node) -> None:
    """Check that the names in a config can only choose what is registered.

    MMEngine takes a ``type`` that no registry has for the name of a module, imports
    it, and calls what it finds: ``dict(type='os.system', command=...)``.

    Args:
        node: A value of a config.

    Raises:
        ConfigNameError: Names a ``type`` or scope that is not registered, a config
            file or a checkpoint to be unpickled.
    """
    if isinstance(node, dict):
        for key, value in node.items():
            if key == 'type' and isinstance(value, str):
                _check_type(value)
            if key in ('_scope_', 'default_scope') and value not in (None, *_scopes()):
                raise ConfigNameError(
                    f'{key}={value!r}, a scope of nothing that is imported so far'
                )
            check_names(key)
            check_names(value)
    elif isinstance(node, list | tuple | set):
        for child in node:
            check_names(child)
    elif isinstance(node, str) and (UNSAFE in node or node.strip().endswith('.py')):
        raise ConfigNameError(f'the name of a file that runs code, {node!r}')


def _check_type(name):
    scope, dot, rest = name.partition('.')
    if not dot:
        # one that is neither registered nor a module is refused by MMEngine
        if not name.isidentifier() or _is_module(name):
            raise ConfigNameError(f'type={name!r}, the name of a module')
        return
    if any(rest in r.module_dict for r in _registries() if r.scope == scope):
        return
    # the whole path, as MMEngine writes it for configs in its new style
    module, _, last = name.rpartition('.')
    found = getattr(sys.modules.get(module), last, None)
    known = (v for r in _registries() for v in r.module_dict.values())
    if found is None or not any(found is value for value in known):
        raise ConfigNameError(
            f'type={name!r}, which nothing that is imported so far registers'
        )


def _is_module(name):
    return name in sys.modules or importlib.util.find_spec(name) is not None


def _scopes():
    return {r.scope for r in _registries()}


def _registries():
    """All of MMEngine's registries, and those of the packages imported."""
    waiting = [r for r in vars(registry).values() if isinstance(r, registry.Registry)]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += found.children.values()
