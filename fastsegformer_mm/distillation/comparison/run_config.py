"""The whole config of one run, and how two of them are told apart."""

import ast
import hashlib
import json
import pprint
from pathlib import Path

from mmengine.config import Config

from fastsegformer_mm.engine.checkpoint.write import replace_file

from .errors import ComparisonError
from .settings import ALONE, TEACHER, Comparison

PARTS = 'fastsegformer_mm.distillation.comparison'
# runs are resumed, whatever the student's own config imports
ROBUST = 'robust_training'


def run_config(
    comparison: Comparison,
    name: str,
    seed: int,
    teacher_ckpt: str | None = None,
    options: dict | None = None,
    teacher_options: dict | None = None,
) -> dict:
    """The config of a training of the student, or of the teacher.

    Data, schedule, evaluation and network are those of the student's own config for
    every method, so all have the same budget. What is added: the seed, hooks that
    let all begin alike and measure the steps, and the distillation.

    Args:
        comparison (Comparison): From :func:`read_comparison`.
        name (str): A method, or 'teacher', whose own config is taken.
        seed (int): Of all random numbers.
        teacher_ckpt (str, optional): The teacher's checkpoint. With the name
            'teacher' that one is only tested.
        options (dict, optional): As ``--cfg-options``, for the student's config.
        teacher_options (dict, optional): The same for the teacher's.

    Returns:
        dict: Of plain Python values.

    Raises:
        ComparisonError: The student's config does not allow to resume.
    """
    if name == TEACHER:
        return _teacher_config(comparison, seed, teacher_ckpt, teacher_options)
    cfg = _prepared(comparison, comparison.student, seed, options)
    method = comparison.methods[name]
    if name != ALONE:
        teacher = _read(comparison.teacher, teacher_options)
        cfg['model'] = dict(
            _scope_='mmrazor',
            type='MultiResolutionDistill',
            architecture=_network(cfg),
            teacher=_network(teacher),
            teacher_ckpt=teacher_ckpt,
            distiller=method.distiller,
        )
        cfg['custom_hooks'].append(dict(type='mmrazor.CheckTeacherHook'))
    _import(cfg, method.imports)
    cfg['custom_hooks'] += method.custom_hooks
    return cfg


def _teacher_config(comparison, seed, teacher_ckpt, options):
    if teacher_ckpt is None:
        return _prepared(comparison, comparison.teacher, seed, options)
    cfg = _read(comparison.teacher, options)
    _import(cfg, [PARTS, ROBUST])
    for key in (
        *('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'),
        *('val_dataloader', 'val_cfg', 'val_evaluator', 'custom_hooks'),
    ):
        cfg.pop(key, None)
    cfg['load_from'] = teacher_ckpt
    return cfg


def _prepared(comparison, path, seed, options):
    cfg = _read(path, options)
    if cfg.get('load_from'):
        raise ComparisonError(
            f'{path} has load_from={cfg["load_from"]!r}, which leaves no way to '
            'resume an interrupted run: load the weights of a backbone by its '
            "init_cfg=dict(type='Pretrained', checkpoint=...) instead"
        )
    cfg['randomness'] = {**(cfg.get('randomness') or {}), 'seed': seed}
    _import(cfg, [PARTS, ROBUST])
    cfg['custom_hooks'] = [
        *(cfg.get('custom_hooks') or []),
        dict(type='SameStartHook'),
        dict(type='StepCostHook'),
    ]
    if comparison.checkpoint_interval is not None:
        hook = cfg.setdefault('default_hooks', {}).setdefault(
            'checkpoint', dict(type='SafeCheckpointHook', by_epoch=False)
        )
        hook.update(interval=comparison.checkpoint_interval, max_keep_ckpts=1)
    return cfg


def _read(path, options) -> dict:
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options or {})
    return cfg.to_dict()


def _network(cfg) -> dict:
    model = {'_scope_': cfg.get('default_scope', 'mmseg'), **cfg['model']}
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg['data_preprocessor'])
    return model


def _import(cfg, modules):
    imports = cfg.setdefault('custom_imports', {})
    found = imports.get('imports') or []
    found = [found] if isinstance(found, str) else list(found)
    imports['imports'] = [*found, *(m for m in modules if m not in found)]


def digest(cfg: dict) -> str:
    """What tells configs apart: 64 hexadecimal digits.

    Where the teacher's checkpoint lies makes no difference; its weights have a
    digest of their own.

    Example:
        >>> digest(dict(a=1, load_from='x.pth')) == digest(dict(load_from='y', a=1))
        True
        >>> digest(dict(a=1, load_from='x.pth')) == digest(dict(a=2, load_from='x.pth'))
        False
    """
    text = json.dumps(_without_paths(cfg), sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_paths(cfg):
    cfg = dict(cfg)
    if cfg.get('load_from'):
        cfg['load_from'] = True
    if 'teacher_ckpt' in cfg.get('model', {}):
        cfg['model'] = {**cfg['model'], 'teacher_ckpt': True}
    return cfg


def differences(old: dict, new: dict) -> list[str]:
    """What has changed between two configs, one line each.

    Example:
        >>> differences(dict(a=dict(b=1, c=2)), dict(a=dict(b=3, c=2), d=4))
        ['a.b: 1 -> 3', 'd: nothing -> 4']
    """
    old, new = (dict(_leaves(_without_paths(cfg))) for cfg in (old, new))
    return [
        f'{key}: {old.get(key, "nothing")} -> {new.get(key, "nothing")}'
        for key in {**old, **new}
        if old.get(key, '') != new.get(key, '')
    ]


def _leaves(node, name=''):
    if isinstance(node, dict) and node:
        for key, child in node.items():
            yield from _leaves(child, f'{name}.{key}' if name else str(key))
    elif isinstance(node, list | tuple) and any(isinstance(c, dict) for c in node):
        for i, child in enumerate(node):
            yield from _leaves(child, f'{name}[{i}]')
    else:
        yield name, repr(node)


def write_config(cfg: dict, path) -> None:
    """Write it as a config file, which ``mim train`` takes too.

    Raises:
        ComparisonError: A value in it cannot be written down.
    """
    lines = []
    for key, value in cfg.items():
        text = pprint.pformat(value, width=88, sort_dicts=False)
        try:
            same = ast.literal_eval(text) == value
        except (SyntaxError, ValueError):
            same = False
        if not same:
            raise ComparisonError(
                f'{key}={text}: a config of a comparison has numbers, text, lists '
                "and dicts alone; name types as in type='ReLU'"
            )
        lines.append(f'{key} = {text}\n')
    replace_file(Path(path), [''.join(lines).encode()])
