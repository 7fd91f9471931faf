"""MMEngine's CheckpointHook, which removes the old only when the new is there."""

import os.path as osp
from collections import deque

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import LocalBackend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.read import read_checkpoint
from fastsegformer_mm.engine.checkpoint.write import replace_file


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Save checkpoints so that a kill at any moment leaves one to go on from.

    MMEngine removes the oldest checkpoint, or the previous best one, and then
    writes: with ``max_keep_ckpts=1`` a kill or a full disk in between leaves none.
    Here the order is

    1. the new checkpoint, which knows of the old one still,
    2. ``last_checkpoint``, which names it,
    3. the removal of the old one,

    and for the best: the new best one, the regular one that names it, the removal.
    After a resume, what a kill left undone is caught up on: an old checkpoint that
    was to be removed, a best one that no regular one names yet.

    Arguments are those of :class:`mmengine.hooks.CheckpointHook`. While it writes,
    the disk holds one checkpoint more than ``max_keep_ckpts``.

    Raises:
        CheckpointWriteError: A checkpoint cannot be written, as on a full disk;
            the earlier ones are still there.

    Example:
        >>> default_hooks = dict(
        ...     checkpoint=dict(
        ...         type='SafeCheckpointHook', interval=10, max_keep_ckpts=3,
        ...         save_best='mIoU'))
    """

    _resumed_meta: dict | None = None

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # best ones to remove once a regular one does not name them any more
        self._outdated: list[str] = []
        self._previous_best: dict = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep what tells which run wrote the checkpoint that is resumed."""
        self._resumed_meta = checkpoint.get('meta') if runner._resume else None

    def before_train(self, runner: Runner) -> None:
        """Find the place to save at, and take up a resumed run where it was."""
        super().before_train(runner)
        if type(self.file_backend) is LocalBackend:
            runner.logger.warning(
                "SafeCheckpointHook: MMEngine's own file backend writes the "
                'checkpoints, and a kill meanwhile leaves a truncated one: add '
                "'robust_training' to the imports of custom_imports"
            )
        if self._resumed_meta is None:
            return
        last = self._here(runner.message_hub.runtime_info.get('last_ckpt'))
        # MMEngine forgets it, and then saves no regular checkpoint along with the
        # next best one, as it does in a run that was not interrupted
        if last and self.file_backend.isfile(last):
            self.last_ckpt = last
        if self.save_best:
            for key, path in self._best_paths().items():
                self._set_best_path(runner, key, self._here(path))
            for path in runner.message_hub.runtime_info.get('outdated_best', []):
                self._remove(self._here(path))
            self._take_up_best(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        if self.max_keep_ckpts > 0:
            ids = [i for i in self.keep_ckpt_ids if i != step] + [step]
            # saved with the outdated one, which is there yet: whoever resumes from
            # this checkpoint removes it if a kill prevents that here
            runner.message_hub.update_info('keep_ckpt_ids', ids)
        self._outdated += self._replaced_best()
        runner.message_hub.update_info('outdated_best', list(self._outdated))

        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            replace_file(
                osp.join(runner.work_dir, 'last_checkpoint'),
                [str(self.last_ckpt).encode()],
            )
        if self.max_keep_ckpts > 0:
            for old in ids[: -self.max_keep_ckpts]:
                name = self.filename_tmpl.format(old)
                self._remove(self.file_backend.join_path(self.out_dir, name))
            ids = ids[-self.max_keep_ckpts :]
            self.keep_ckpt_ids = deque(ids, self.max_keep_ckpts)
            runner.message_hub.update_info('keep_ckpt_ids', ids)
        self._remove_outdated(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        previous = self._previous_best = self._best_paths()
        # MMEngine removes what it finds here before it writes
        self._set_best_paths(dict.fromkeys(previous))
        try:
            # and saves the regular one again, which removes what is outdated
            super()._save_best_checkpoint(runner, metrics)
            if self.last_ckpt is None:  # there is none yet that could name the old
                self._outdated += self._replaced_best()
                self._remove_outdated(runner)
        finally:
            written = {k: path for k, path in self._best_paths().items() if path}
            self._set_best_paths({**previous, **written})
            self._previous_best = {}

    def _replaced_best(self) -> list[str]:
        now = self._best_paths()
        return [path for k, path in self._previous_best.items() if path and now[k]]

    def _remove_outdated(self, runner: Runner) -> None:
        for path in self._outdated:
            if self._remove(path):
                runner.logger.info(f'The previous best checkpoint {path} is removed')
        self._outdated = []
        runner.message_hub.update_info('outdated_best', [])

    def _best_paths(self) -> dict:
        """The best checkpoint's path by the end of its names in the message hub."""
        if not self.save_best:
            return {}
        if len(self.key_indicators) == 1:
            return {'': self.best_ckpt_path}
        return {f'_{k}': self.best_ckpt_path_dict.get(k) for k in self.key_indicators}

    def _set_best_path(self, runner: Runner, key: str, path) -> None:
        self._set_best_paths({**self._best_paths(), key: path})
        if path:
            runner.message_hub.update_info(f'best_ckpt{key}', path)

    def _set_best_paths(self, paths: dict) -> None:
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = paths['']
        else:
            self.best_ckpt_path_dict = {k[1:]: path for k, path in paths.items()}

    def _here(self, path):
        """The file of that name in this folder, which may have been moved."""
        if not path:
            return path
        here = self.file_backend.join_path(self.out_dir, osp.basename(path))
        return here if self.file_backend.isfile(here) else path

    def _remove(self, path) -> bool:
        """Remove an old checkpoint, unless it is in use or not of this folder."""
        if not is_main_process():
            return False
        # names need not hold a number: the new one may have that of the old
        if str(path) in map(str, (self.last_ckpt, *self._best_paths().values())):
            return False
        # of the training in another folder that this one was resumed from
        if osp.dirname(path) != str(self.out_dir).rstrip(osp.sep):
            return False
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):
            # checkpoints saved by deepspeed are directories
            self.file_backend.rmtree(path)
        else:
            return False
        return True

    def _take_up_best(self, runner: Runner) -> None:
        """Take up a best checkpoint that was written just before the kill.

        The regular one of the same step, from which training goes on, was to be
        written anew to name it; it names the one before.
        """
        found = [self._unnamed_best(runner) if is_main_process() else {}]
        broadcast_object_list(found)
        previous = self._best_paths()
        for key, (path, score) in found[0].items():
            runner.message_hub.update_info(f'best_score{key}', score)
            self._set_best_path(runner, key, path)
            runner.logger.info(
                f'SafeCheckpointHook: {path} was written just before the training '
                f'was interrupted; it is the best so far with {score:0.4f}'
            )
            if previous[key]:
                # the regular one that training goes on from names it
                self._outdated.append(previous[key])

    def _unnamed_best(self, runner: Runner) -> dict:
        step = runner.epoch if self.by_epoch else runner.iter
        found = {}
        for key, indicator in zip(self._best_paths(), self.key_indicators):
            # 'auto' has no name before the first validation
            name = f'best_{indicator}_{self.filename_tmpl.format(step)}'
            path = self.file_backend.join_path(self.out_dir, name.replace('/', '_'))
            if path == self._best_paths()[key] or not self.file_backend.isfile(path):
                continue
            try:
                content = read_checkpoint(path)
            except (CheckpointError, OSError) as error:
                runner.logger.warning(f'SafeCheckpointHook: left alone: {error}')
                continue
            meta = content.get('meta', {})
            info = content.get('message_hub', {}).get('runtime_info', {})
            # of an earlier training in this folder, it has nothing to say here
            name = 'experiment_name'
            if meta.get(name) == self._resumed_meta.get(name) and info.get(
                f'best_ckpt{key}'
            ) == str(path):
                found[key] = path, info[f'best_score{key}']
        return found
