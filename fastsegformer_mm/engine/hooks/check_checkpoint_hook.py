"""A checkpoint that does not fit stops the run."""

import logging
import re
from collections import OrderedDict
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from mmseg.registry import HOOKS

from fastsegformer_mm.engine.checkpoint.contents import some
from fastsegformer_mm.engine.checkpoint.errors import CheckpointError
from fastsegformer_mm.engine.checkpoint.fit import check_fit

# Deep supervision: no test computes these heads.
AUXILIARY = 'auxiliary_head.'


@HOOKS.register_module()
class CheckCheckpointHook(Hook):
    """Compare each checkpoint with the network before it is loaded.

    MMEngine loads what fits, logs the rest as a warning, and trains or scores on
    with random weights. Here

    * in testing and resuming everything must fit; the file may hold more, such as
      an auxiliary head that the network has not;
    * in training from ``load_from`` weights may be missing, as long as most of the
      network finds its own; those of another shape must be named.

    Args:
        allow_mismatch (Sequence[str]): Regular expressions, searched in the names
            of weights. Where one of these has another shape, as the classifier for
            other classes, training from ``load_from`` starts it anew. Defaults to
            none.

    Raises:
        CheckpointError: When the checkpoint is loaded: it is that of another
            network, or for another number of classes.

    Example:
        >>> custom_hooks = [
        ...     dict(type='CheckCheckpointHook', allow_mismatch=['conv_seg'])]
    """

    # before EMAHook, which loads the checkpoint into its own copy
    priority = 'VERY_HIGH'

    def __init__(self, allow_mismatch: Sequence[str] = ()) -> None:
        self.allow_mismatch = (
            [allow_mismatch] if isinstance(allow_mismatch, str) else allow_mismatch
        )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check, and take out what may have another shape."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if type(runner.model).__name__.endswith('FullyShardedDataParallel'):
            # each process has a part of each weight
            return
        if isinstance(model, BaseTTAModel):
            model = model.module
        path = (
            runner._load_from
            or find_latest_checkpoint(runner.work_dir)
            or runner.work_dir
        )
        weights = checkpoint
        if isinstance(checkpoint, dict):
            weights = checkpoint.get('state_dict', checkpoint)
        if not isinstance(weights, dict) or not any(
            isinstance(k, str) for k in weights
        ):
            raise CheckpointError(
                f'checkpoint {str(path)!r} holds no weights under their names but a '
                f"{type(weights).__name__}: give one with a 'state_dict'"
            )
        # training builds its loop before it loads
        trains = isinstance(runner._train_loop, BaseLoop)
        partly = trains and not runner._resume
        known = checkpoint.get('meta') or {}
        fit = check_fit(
            model,
            OrderedDict((re.sub(r'^module\.', '', k), v) for k, v in weights.items()),
            path,
            partly=partly,
            optional=None if trains else AUXILIARY,
            allow_mismatch=self.allow_mismatch if partly else (),
            classes=(known.get('dataset_meta') or {}).get('classes'),
        )
        for key in list(weights):
            if re.sub(r'^module\.', '', key) in fit.mismatched:
                del weights[key]
        self._tell(path, fit)

    def _tell(self, path, fit):
        for keys, what in (
            (fit.mismatched, 'have another shape and start anew, as allow_mismatch'),
            (fit.missing, 'are not in the file and stay as they were initialised'),
            (fit.unexpected, 'of the file are not in the network and are left out'),
        ):
            if keys:
                level = logging.WARNING if keys is fit.missing else logging.INFO
                print_log(
                    f'CheckCheckpointHook: {path}: {len(keys)} weights {what}: '
                    f'{some(keys, 6)}',
                    'current',
                    level=level,
                )
