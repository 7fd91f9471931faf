"""What an import changes for everyone else in the process; prints JSON.

    python import_effects.py MODULE ...

imports the stack, then each module in turn, and compares before and after: every
attribute of every module and class of the stack and of the standard library (which
object it is), the contents of the stack's own dicts, lists and sets, MMEngine's
registries, and the settings of the process.
"""

import importlib
import json
import logging
import multiprocessing
import os
import random
import runpy
import signal
import socket
import sys
import threading
import types
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor  # noqa: F401
from pathlib import Path

import cv2
import matplotlib
import numpy
import torch
from mmengine import registry

ROOT = Path(__file__).resolve().parents[1]
STACK = ('mmengine', 'mmcv', 'mmseg', 'mmpretrain')
LIBRARIES = ('torch', 'torchvision', 'numpy', 'cv2', 'matplotlib', 'PIL')
CONTAINERS = (dict, list, set)
# caches, counters and what Python adds to a module or class as it is used
CACHES = ('__warningregistry__', '__abstractmethods__', '_abc_impl', '__doc__')
# whoever imports any of it, the stack imports the rest on its first use
WHOLE = (
    *('mmengine.infer', 'mmengine.model', 'mmengine.runner', 'mmengine.visualization'),
    *('mmseg.apis', 'mmseg.datasets', 'mmseg.engine', 'mmseg.evaluation'),
    *('mmseg.models', 'mmseg.visualization', 'mmpretrain.datasets'),
    *('mmpretrain.engine', 'mmpretrain.evaluation', 'mmpretrain.models'),
    *('torch._dynamo', 'torch.utils.data', 'torchvision.transforms'),
    *('matplotlib.pyplot', 'scipy.ndimage', 'multiprocessing.pool', 'tempfile'),
    'concurrent.futures.process', 'concurrent.futures.thread',
)
kept = []  # else another object could get the id of one that is gone


def same(value):
    """What tells one object from another, as a value that stays."""
    if isinstance(value, bool | int | float | str | bytes | None):
        return f'{type(value).__name__} {value!r}'
    kept.append(value)
    if isinstance(value, types.FunctionType):
        return f'{id(value)} {id(value.__code__)} {value.__defaults__!r:.200}'
    return id(value)


def contents(value):
    if isinstance(value, dict):
        return {repr(key): same(item) for key, item in dict.items(value)}
    return [same(item) for item in value]


def attributes():
    """{name: which object} of the modules that are imported, and their classes."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        top = name.partition('.')[0]
        if top not in (*STACK, *LIBRARIES) and top not in sys.stdlib_module_names:
            continue
        if name.startswith('multiprocessing.resource') or not isinstance(
            module, types.ModuleType
        ):
            continue
        found[name] = same(module)
        for key, value in list(vars(module).items()):
            add(found, f'{name}.{key}', key, value, top)
            if isinstance(value, type) and value.__module__ == name:
                for inner, item in list(vars(value).items()):
                    add(found, f'{name}.{key}.{inner}', inner, item, top)
    return found


def add(found, name, key, value, top):
    if key in CACHES:
        return
    # a submodule is an attribute as soon as anyone imports it
    if not isinstance(value, types.ModuleType):
        found[name] = same(value)
    if top in STACK and isinstance(value, CONTAINERS) and not key.startswith('__'):
        found[f'{name} contents'] = contents(value)


def registries():
    """{registry: {entry: which object}}, MMEngine's and those of all packages."""
    waiting = [r for r in vars(registry).values() if isinstance(r, registry.Registry)]
    found = {}
    while waiting:
        one = waiting.pop()
        found[f'{one.scope}:{one.name}'] = contents(one.module_dict)
        waiting += one.children.values()
    return found


def settings():
    """What the process as a whole has set."""
    loggers = {'': logging.getLogger(), **logging.Logger.manager.loggerDict}
    own = getattr(torch.serialization, 'get_safe_globals', list)
    found = {
        f'logger {name}': [one.level, one.disabled, contents(one.handlers)]
        for name, one in loggers.items() if isinstance(one, logging.Logger)
    }
    return dict(
        found,
        environ=dict(os.environ),
        warnings=[same(f) for f in warnings.filters],
        showwarning=same(warnings.showwarning),
        signals={s.name: str(signal.getsignal(s)) for s in signal.valid_signals()
                 if isinstance(s, signal.Signals)},
        hooks=[same(h) for h in (sys.excepthook, sys.displayhook, sys.unraisablehook)],
        path=list(sys.path),
        meta_path=contents(sys.meta_path),
        cwd=os.getcwd(),
        recursion=sys.getrecursionlimit(),
        threads=threading.active_count(),
        start_method=multiprocessing.get_start_method(allow_none=True),
        timeout=socket.getdefaulttimeout(),
        random=str(random.getstate()),
        numpy=[str(f()) for f in (numpy.geterr, numpy.random.get_state)],
        torch=[
            torch.get_num_threads(), torch.get_num_interop_threads(),
            str(torch.get_default_dtype()), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(), torch.initial_seed(),
            torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic,
            torch.get_float32_matmul_precision(),
            str(torch.multiprocessing.get_sharing_strategy()), len(own()),
        ],
        opencv=[cv2.getNumThreads(), cv2.ocl.useOpenCL()],
        # as an item it would be chosen by being asked for
        matplotlib=contents(matplotlib.rcParams),
        versions=[sys.modules[m].__version__ for m in (*STACK, 'torch')],
    )


def changes(before, after):
    """Names of what is another object or gone, and of what came to be."""
    changed = [name for name in before if before[name] != after.get(name)]
    return changed, [name for name in after if name not in before]


def effects(module):
    """What the import of a module has changed."""
    before = attributes(), registries(), settings()
    importlib.import_module(module)
    after = attributes(), registries(), settings()
    changed, added = changes(before[0], after[0])
    known = {name.rpartition('.')[0] for name in before[0]}
    gained, replaced = {}, []
    for name, entries in after[1].items():
        old = before[1].get(name, {})
        gone_or_other, new = changes(old, entries)
        replaced += [f'{name} {entry}' for entry in gone_or_other]
        if new:
            gained[name] = len(new)
    return dict(
        changed=changed,
        # in a module or class that was there before
        added=[n for n in added if n.rpartition('.')[0] in known
               and n not in sys.modules and n.split(' ')[0] in after[0]],
        registries=gained,
        replaced=replaced,
        settings=changes(before[2], after[2])[0],
        modules=len(before[0]),
    )


if __name__ == '__main__':
    # MMSegmentation as it is without the package, also where MMCV has no operators
    runpy.run_path(str(ROOT / 'fastsegformer_mm' / 'stack.py'))['check_stack']()
    for part in WHOLE:
        importlib.import_module(part)
    print(json.dumps({module: effects(module) for module in sys.argv[1:]}))
