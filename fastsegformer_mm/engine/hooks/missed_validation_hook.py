"""A validation that a kill has prevented is made up for."""

import os.path as osp
from pathlib import Path

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.checkpoint.write import replace_file

# in the work dir: the iteration after which the last validation was done
FILE = 'last_validation'


@HOOKS.register_module()
class MissedValidationHook(Hook):
    """Validate at the start of a resumed training what was not validated.

    MMEngine writes the checkpoint of an epoch first and validates then. A run that
    is killed in between goes on with the next epoch when it is resumed: these weights
    are never scored, and if they were the best they are lost, for good where it was
    the last epoch. This hook notes each validation in ``WORK_DIR/last_validation``,
    and makes up for the one that was due.

    Example:
        >>> default_hooks = dict(missed_validation=dict(type='MissedValidationHook'))
    """

    # after the others have taken up the training, and saved what a validation gave
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._training = False

    def before_train(self, runner: Runner) -> None:
        """Validate if it is due."""
        self._training = True
        if runner.val_loop is None or not runner.iter or not self._due(runner):
            return
        done = [self._done(runner) if is_main_process() else None]
        broadcast_object_list(done)
        if done[0] != runner.iter:
            runner.logger.info(
                f'MissedValidationHook: iteration {runner.iter} was saved, but not '
                'validated; that is done now'
            )
            runner.val_loop.run()

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Note the validation."""
        if self._training and is_main_process():
            replace_file(self._file(runner), [str(runner.iter).encode()])

    @staticmethod
    def _due(runner) -> bool:
        """Whether the loop would have validated where it was interrupted."""
        loop = runner.train_loop
        if isinstance(loop, IterBasedTrainLoop):
            at, last = loop.iter, loop.max_iters
        else:
            at, last = loop.epoch, loop.max_epochs
            if loop.iter != at * len(loop.dataloader):  # in the middle of an epoch
                return False
        return at >= loop.val_begin and (at % loop.val_interval == 0 or at == last)

    def _done(self, runner) -> int | None:
        try:
            return int(Path(self._file(runner)).read_text('utf-8'))
        except (OSError, ValueError):
            return None

    @staticmethod
    def _file(runner) -> str:
        return osp.join(runner.work_dir, FILE)
