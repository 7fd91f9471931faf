"""``--resume`` goes on from the newest checkpoint that is whole."""

import os.path as osp
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import CheckpointLoader, Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.newest import (
    TEMPLATES,
    Newest,
    newest_checkpoint,
)
from fastsegformer_mm.engine.checkpoint.write import remove_leftovers, replace_file


@HOOKS.register_module()
class ResumeNewestHook(Hook):
    """Resume from the newest valid checkpoint, and say what was skipped.

    MMEngine's ``--resume`` takes what the file ``last_checkpoint`` names, and
    crashes where that is truncated, has been moved or removed, although an older
    checkpoint is valid. This hook looks through the checkpoints, newest first, for
    one that can be read whole and has an optimizer. In several processes the first
    decides for all. With a ``load_from`` there is nothing to look for.

    It also removes the temporary files which killed runs have left.

    Raises:
        CheckpointError: Before training starts: there are checkpoints, and none
            is valid. Training never starts from scratch silently.

    Example:
        >>> custom_hooks = [dict(type='ResumeNewestHook')]
    """

    # before any hook that looks at what will be loaded
    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Look for the checkpoint, before the runner does."""
        folder, templates, need_optimizer = _where(runner)
        if is_main_process():
            _clean({runner.work_dir, folder}, runner)
        # FlexibleRunner's checkpoints may be folders and shards, it is no Runner
        if not isinstance(runner, Runner):
            return
        if not runner._resume or runner._load_from is not None:
            return
        if '://' in str(folder):
            runner.logger.info(
                f'ResumeNewestHook: {folder} is not on this machine; the checkpoint '
                'is what last_checkpoint names'
            )
            return
        found = [Newest()]
        if is_main_process():
            try:
                found = [
                    newest_checkpoint(
                        runner.work_dir, folder, templates, need_optimizer
                    )
                ]
            except OSError as error:  # else the other processes would wait for ever
                found = [CheckpointError(f'cannot look for checkpoints: {error}')]
        broadcast_object_list(found)
        if isinstance(found[0], Exception):
            raise found[0]
        self._use(runner, folder, found[0])

    def _use(self, runner: Runner, folder, found: Newest) -> None:
        for line in found.skipped:
            runner.logger.warning(f'ResumeNewestHook: skipped {line}')
        if found.path is not None:
            runner.logger.info(
                f'ResumeNewestHook: going on from {found.path}, epoch {found.epoch}, '
                f'iteration {found.iter}'
            )
            loader = CheckpointLoader._get_checkpoint_loader(str(found.path))
            if loader.__module__.startswith('mmengine.'):
                runner.logger.warning(
                    "ResumeNewestHook: MMEngine's own loader reads it, and may refuse "
                    "it or run code from it: add 'robust_training' to the imports of "
                    'custom_imports'
                )
            # Runner.train calls this hook just before load_or_resume, which takes
            # the checkpoint from here; the constructor's argument would come too
            # early, and there is no public way
            runner._load_from = str(found.path)
            if is_main_process():
                # else it would go on to name one that is broken, or that
                # CheckpointHook removes now, until the next is saved
                file = Path(runner.work_dir, 'last_checkpoint')
                replace_file(file, [str(found.path).encode()])
        elif found.skipped:
            raise CheckpointError(
                f'no checkpoint in {folder} can be resumed from:\n  '
                + '\n  '.join(found.skipped)
                + '\nBring one back (a copy, a best_*.pth as load_from without '
                '--resume), or start from scratch: without --resume, or in another '
                'work_dir'
            )
        else:
            runner.logger.info(
                f'ResumeNewestHook: no checkpoint in {folder}, training starts from '
                'scratch'
            )


def _where(runner: Runner):
    """Folder and names of the checkpoints, and whether they hold the optimizer."""
    hooks = [hook for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    folder = runner.work_dir
    for hook in hooks:
        # as CheckpointHook itself does, later on
        if hook.out_dir not in (None, runner.work_dir):
            name = osp.basename(runner.work_dir.rstrip(osp.sep))
            folder = osp.join(hook.out_dir, name)
    own = [hook.filename_tmpl for hook in hooks]
    need_optimizer = all(hook.save_optimizer for hook in hooks)
    return folder, tuple(dict.fromkeys([*own, *TEMPLATES])), need_optimizer


def _clean(folders: set, runner: Runner) -> None:
    for folder in folders:
        if '://' in str(folder):
            continue
        # exported students are in a folder beside the checkpoints
        inner = [path for path in Path(folder).glob('*') if path.is_dir()]
        for path in (p for f in [folder, *inner] for p in remove_leftovers(f)):
            runner.logger.info(
                f'ResumeNewestHook: removed {path}, which a killed run had left'
            )
