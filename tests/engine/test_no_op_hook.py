"""A hook that a config inherits can be left out."""

from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.hooks import CheckDatasetHook, NoOpHook

ROOT = Path(__file__).parents[2]


def test_in_the_place_of_another(tmp_path):
    """With the options of the one that it replaces merged into its own."""
    base = tmp_path / 'base.py'
    base.write_text(
        f"_base_ = '{ROOT}/configs/_base_/default_runtime.py'\n"
        "default_hooks = dict(check_dataset=dict(full=True))\n")
    child = tmp_path / 'child.py'
    child.write_text(
        "_base_ = './base.py'\n"
        "default_hooks = dict(check_dataset=dict(type='NoOpHook'))\n")
    settings = Config.fromfile(base).default_hooks.check_dataset
    assert isinstance(HOOKS.build(settings), CheckDatasetHook)
    settings = Config.fromfile(child).default_hooks.check_dataset
    assert settings == dict(type='NoOpHook', full=True)
    hook = HOOKS.build(settings)
    assert type(hook) is NoOpHook
    assert hook.get_triggered_stages() == Hook().get_triggered_stages() == []
