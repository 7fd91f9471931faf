"""A validation that was due at the interruption is made up for, and none else."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.hooks import Hook

short = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('short_run.py'))))


class Kill(Exception):
    pass


class KillHook(Hook):
    """Ends the run before its ``number``-th validation, or after an iteration."""

    def __init__(self, validation=None, iteration=None):
        self.validation, self.iteration, self.count = validation, iteration, 0

    def before_val(self, runner):
        self.count += 1
        if self.count == self.validation:
            raise Kill

    def after_train_iter(self, runner, *args, **kwargs):
        if runner.iter + 1 == self.iteration:
            raise Kill


class Validated(Hook):
    """At which iterations it was validated."""

    def __init__(self):
        self.at = []

    def after_val_epoch(self, runner, metrics=None):
        self.at.append(runner.iter)


def run(folder, resume=False, kill=None, **kwargs):
    cfg = short.short_cfg(folder, resume=resume, epochs=3, **kwargs)
    cfg.custom_hooks.append(dict(type='MissedValidationHook'))
    runner = short.Runner.from_cfg(cfg)
    seen = Validated()
    runner.register_hook(seen, 'LOW')
    if kill is not None:
        runner.register_hook(kill, 'LOWEST')
        with pytest.raises(Kill):
            runner.train()
    else:
        runner.train()
    return seen.at, runner


@pytest.mark.parametrize('by_epoch', [True, False])
@pytest.mark.parametrize(('validation', 'rest'), [(2, [8, 12]), (3, [12])])
def test_killed_before_it_was_done(tmp_path, by_epoch, validation, rest):
    """In the end there is the same best checkpoint as without a kill."""
    run(tmp_path, kill=KillHook(validation=validation), by_epoch=by_epoch)
    assert (tmp_path / 'last_validation').read_text() == str(4 * (validation - 1))
    at, _ = run(tmp_path, resume=True, by_epoch=by_epoch)
    assert at == rest
    name = 'best_score_epoch_3.pth' if by_epoch else 'best_score_iter_12.pth'
    assert name in short.files(tmp_path)
    assert (tmp_path / 'last_validation').read_text() == '12'


def test_done_ones_are_not_repeated(tmp_path):
    run(tmp_path, kill=KillHook(iteration=9))
    at, _ = run(tmp_path, resume=True)
    assert at == [12]
    at, _ = run(tmp_path, resume=True)
    assert at == []


def test_in_the_middle_of_an_epoch_none_is_due(tmp_path):
    """A checkpoint every two iterations, a validation every four."""
    kwargs = dict(by_epoch=False)
    run(tmp_path, kill=KillHook(iteration=7), **kwargs)
    at, _ = run(tmp_path, resume=True, **kwargs)
    assert at == [8, 12]


@pytest.mark.parametrize('content', [None, 'not a number'])
def test_an_unknown_one_is_done(tmp_path, content):
    run(tmp_path, kill=KillHook(iteration=9))
    if content is None:
        (tmp_path / 'last_validation').unlink()
    else:
        (tmp_path / 'last_validation').write_text(content)
    at, _ = run(tmp_path, resume=True)
    assert at == [8, 12]


def test_rules_of_the_loop(tmp_path):
    """Neither before ``val_begin``, nor between intervals."""
    cfg = short.short_cfg(tmp_path, epochs=3)
    cfg.train_cfg.update(val_begin=2, val_interval=2)
    cfg.custom_hooks.append(dict(type='MissedValidationHook'))
    runner = short.Runner.from_cfg(cfg)
    runner.register_hook(KillHook(iteration=6), 'LOWEST')
    with pytest.raises(Kill):
        runner.train()
    cfg.resume = True
    runner = short.Runner.from_cfg(cfg)
    seen = Validated()
    runner.register_hook(seen, 'LOW')
    runner.train()
    assert seen.at == [8, 12]


def test_a_validation_alone_is_not_noted(tmp_path):
    cfg = short.short_cfg(tmp_path, save_best=None)
    cfg.custom_hooks.append(dict(type='MissedValidationHook'))
    runner = short.Runner.from_cfg(cfg)
    runner.message_hub.update_info('iter', 0)
    runner.val()
    assert not (tmp_path / 'last_validation').exists()
