"""The whole config of one run, and how two of them are told apart."""

import ast
import copy
import hashlib
import json
import math
import pprint
from pathlib import Path

from mmengine.config import Config

from fastsegformer_mm.engine.checkpoint.write import replace_file

from .settings import (
    ALONE,
    EQUAL_TIME,
    METRIC,
    TEACHER,
    Comparison,
    ComparisonError,
)

# of parts; runs are resumed, whatever the student's own config imports
IMPORTS = ['fastsegformer_mm.distillation.comparison', 'robust_training']

# any pair that every segmentor has: it is stopped before it is compared once
_BACKBONE = {'maps': dict(type='ModuleOutputs', source='backbone')}
NO_DISTILLER = dict(
    type='ConfigurableDistiller',
    student_recorders=_BACKBONE,
    teacher_recorders=_BACKBONE,
    distill_losses=dict(loss_none=dict(type='NFDLoss')),
    loss_forward_mappings=dict(
        loss_none=dict(
            preds_S=dict(from_student=True, recorder='maps', data_idx=-1),
            preds_T=dict(from_student=False, recorder='maps', data_idx=-1),
        )
    ),
)
NO_TEACHER = dict(type='mmrazor.DistillScheduleHook', stop=0, by_epoch=False)

# what counts iterations or epochs in a scheduler
COUNTS = (
    *('begin', 'end', 'T_max', 'step_size', 'milestones'),
    *('periods', 'total_steps'),
)


def run_config(
    comparison: Comparison,
    name: str,
    seed: int,
    teacher_ckpt: str | None = None,
    options: dict | None = None,
    teacher_options: dict | None = None,
    stretch: float = 1.0,
) -> dict:
    """The config of a training of the student, or of the teacher.

    Schedule, evaluation and network are those of the student's own config for every
    method, and so are the data unless the method names other images. What is added:
    the seed, hooks that let all begin alike, measure the steps and note the
    validations, the choice of the best validated weights, and the distillation.

    Args:
        comparison (Comparison): From :func:`read_comparison`.
        name (str): A method, or 'teacher', whose own config is taken.
        seed (int): Of all random numbers.
        teacher_ckpt (str, optional): The teacher's checkpoint. With the name
            'teacher' that one is only tested.
        options (dict, optional): As ``--cfg-options``, for the student's config.
        teacher_options (dict, optional): The same for the teacher's.
        stretch (float): Factor of the schedule of 'alone_equal_time'.

    Returns:
        dict: Of plain Python values.

    Raises:
        ComparisonError: The student's config cannot be resumed, or has no validation.
    """
    teacher = merged(
        Config.fromfile(comparison.teacher), comparison.cfg, teacher_options or {}
    )
    if name == TEACHER and teacher_ckpt is not None:
        return _test_config(teacher, teacher_ckpt)
    path, cfg = comparison.teacher, teacher
    if name != TEACHER:
        path = comparison.student
        cfg = merged(Config.fromfile(path), comparison.cfg, options or {})
    cfg = _prepared(path, cfg, seed, comparison.early_stopping)
    if name == EQUAL_TIME:
        stretch_schedule(cfg, stretch)
    if name in (TEACHER, ALONE, EQUAL_TIME):
        return cfg
    method = comparison.methods[name]
    cfg['model'] = dict(
        _scope_='mmrazor',
        type='MultiResolutionDistill',
        architecture=_network(cfg),
        teacher=_network(teacher),
        teacher_ckpt=teacher_ckpt,
        distiller=method.distiller or NO_DISTILLER,
    )
    hook = dict(type='mmrazor.CheckTeacherHook') if method.distiller else NO_TEACHER
    return merged(cfg, dict(custom_hooks=[hook]), *method.fragments)


def _test_config(cfg, checkpoint):
    for key in (
        *('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'),
        *('val_dataloader', 'val_cfg', 'val_evaluator', 'custom_hooks'),
    ):
        cfg.pop(key, None)
    cfg['load_from'] = checkpoint
    return merged(cfg, dict(custom_imports=dict(imports=IMPORTS)))


def _prepared(path, cfg, seed, early_stopping):
    """What all trainings have, the teacher's too."""
    if cfg.get('load_from'):
        raise ComparisonError(
            f'{path} has load_from={cfg["load_from"]!r}, which leaves no way to '
            'resume an interrupted run: load the weights of a backbone by its '
            "init_cfg=dict(type='Pretrained', checkpoint=...) instead"
        )
    if not cfg.get('val_dataloader'):
        raise ComparisonError(
            f'{path} has no val_dataloader: of each run the weights that are best on '
            'the validation images are tested'
        )
    cfg['randomness'] = {**(cfg.get('randomness') or {}), 'seed': seed}
    hooks = cfg.setdefault('default_hooks', {})
    hooks['checkpoint'] = dict(
        dict(type='SafeCheckpointHook', by_epoch=False, save_best=METRIC),
        **(hooks.get('checkpoint') or {}),
    )
    added = [
        dict(type='SameStartHook'),
        dict(type='StepCostHook'),
        dict(type='ValidationHook', **early_stopping),
    ]
    return merged(
        cfg, dict(custom_imports=dict(imports=IMPORTS), custom_hooks=added)
    )


def merged(cfg: dict, *fragments: dict) -> dict:
    """A config with fragments merged in, as ``--cfg-options`` does.

    Hooks in ``custom_hooks`` and modules in ``custom_imports`` are added to those that
    are there; other lists are replaced.

    Example:
        >>> merged(dict(a=dict(b=1, c=2), custom_hooks=['x']),
        ...        dict(a=dict(b=3), custom_hooks=['y']))
        {'a': {'b': 3, 'c': 2}, 'custom_hooks': ['x', 'y']}
    """
    cfg = Config(cfg) if isinstance(cfg, dict) else cfg
    for fragment in fragments:
        fragment = copy.deepcopy(fragment)
        if 'custom_hooks' in fragment:
            hooks = [*(cfg.get('custom_hooks') or []), *fragment['custom_hooks']]
            fragment['custom_hooks'] = hooks
        if 'imports' in fragment.get('custom_imports', {}):
            found = (cfg.get('custom_imports') or {}).get('imports') or []
            found = [found] if isinstance(found, str) else found
            imports = [*found, *fragment['custom_imports']['imports']]
            fragment['custom_imports']['imports'] = list(dict.fromkeys(imports))
        cfg.merge_from_dict(fragment)
    return cfg.to_dict()


def stretch_schedule(cfg: dict, factor: float) -> None:
    """Let a training last longer: iterations (or epochs), schedulers, validation.

    All counts are multiplied alike, so that the warm-up is the same share of the
    training and there are as many validations to choose the best weights from. Counts
    in hooks stay as they are.

    Example:
        >>> cfg = dict(train_cfg=dict(max_iters=300, val_interval=50), param_scheduler=[
        ...     dict(type='LinearLR', end=20), dict(type='PolyLR', begin=20, end=300)])
        >>> stretch_schedule(cfg, 1.5)
        >>> cfg['train_cfg']
        {'max_iters': 450, 'val_interval': 75}
        >>> cfg['param_scheduler'][1]
        {'type': 'PolyLR', 'begin': 30, 'end': 450}
    """
    loop = cfg['train_cfg']
    key = 'max_iters' if 'max_iters' in loop else 'max_epochs'
    total = math.ceil(round(loop[key] * factor, 6))
    factor = total / loop[key]

    def scaled(count):
        if isinstance(count, list | tuple):
            return [scaled(c) for c in count]
        return max(1, round(count * factor)) if count else count

    loop[key] = total
    for key in ('val_interval', 'val_begin'):
        if key in loop:
            loop[key] = scaled(loop[key])
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        scheduler.update({k: scaled(v) for k, v in scheduler.items() if k in COUNTS})


def chosen_on_test(cfg: dict) -> bool:
    """Whether the images that choose the best weights are those that are tested."""
    val, test = (cfg[f'{split}_dataloader']['dataset'] for split in ('val', 'test'))
    keys = ('data_root', 'data_prefix', 'ann_file', 'indices', 'datasets', 'dataset')
    return all(val.get(key) == test.get(key) for key in keys)


def _network(cfg) -> dict:
    model = {'_scope_': cfg.get('default_scope', 'mmseg'), **cfg['model']}
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg['data_preprocessor'])
    return model


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
