"""The scores of all validations, and early stopping that survives a resume."""

import json
from math import inf
from pathlib import Path

from mmengine.hooks import EarlyStoppingHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.checkpoint.write import replace_file

from .settings import METRIC

FILE = 'validation.json'


def read_scores(folder) -> dict[int, float]:
    """The score of each validation of a run, by iteration."""
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    return {int(k): v for k, v in json.loads(path.read_text('utf-8')).items()}


@HOOKS.register_module()
class ValidationHook(EarlyStoppingHook):
    """MMEngine's EarlyStoppingHook, which continues where it was after a resume.

    MMEngine's counts from zero again. This one keeps the score of each validation in
    ``WORK_DIR/validation.json`` and counts in that, so that an interrupted run stops
    in the iteration in which it would have stopped.

    Args:
        monitor (str): The score; higher is better. Defaults to 'mIoU'.
        patience (int, optional): Validations without a better score after which
            training stops. Defaults to None: it never stops early.
        kwargs: Of EarlyStoppingHook, such as ``min_delta`` (default: 0.1 points).

    Example:
        >>> custom_hooks = [dict(type='ValidationHook', patience=5, min_delta=0.2)]
    """

    # before MissedValidationHook (LOWEST), which notes that the validation was done
    priority = 'VERY_LOW'

    def __init__(
        self, monitor: str = METRIC, patience: int | None = None, **kwargs
    ) -> None:
        patience = inf if patience is None else patience
        super().__init__(monitor, rule='greater', patience=patience, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Stop a resumed training that had stopped."""
        self._count(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict) -> None:
        """Note the score; stop if it is time."""
        scores = read_scores(runner.work_dir)
        scores[runner.iter] = float(metrics[self.monitor])
        content = json.dumps(dict(sorted(scores.items())))
        replace_file(Path(runner.work_dir) / FILE, [content.encode()])
        self._count(runner)

    def _count(self, runner):
        self.wait_count, self.best_score = 0, -inf
        for iteration, score in read_scores(runner.work_dir).items():
            # later ones are of checkpoints that were lost, and come again
            if iteration > runner.iter:
                continue
            stop, reason = self._check_stop_condition(score)
            if stop:
                runner.train_loop.stop_training = True
                runner.logger.info(f'ValidationHook: {reason}')
