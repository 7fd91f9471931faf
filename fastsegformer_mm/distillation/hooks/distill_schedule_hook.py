"""How much the distillation counts, over the time of a training."""

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmrazor.registry import HOOKS


@HOOKS.register_module()
class DistillScheduleHook(Hook):
    """Warm the distillation's losses up, and stop them.

    Their factor rises linearly from ``start_factor`` to 1 during ``warmup``, and
    the teacher is not run any more from ``stop`` on. The factor depends on the
    iteration alone, so a resumed training goes on where it was.

    Args:
        warmup (float): Epochs, or iterations, of the rise. Defaults to 0, none.
        start_factor (float): The factor at the beginning, >= 0. Defaults to 0.
        stop (float, optional): Epochs, or iterations, with distillation.
            Defaults to None, all.
        by_epoch (bool): The unit of both. Defaults to True.

    Raises:
        ValueError: An argument is out of its range, the warm-up does not end
            before ``stop``, or epochs are counted with IterBasedTrainLoop; at the
            start of training, for a model that is no MultiResolutionDistill.

    Example:
        >>> custom_hooks = [
        ...     dict(type='mmrazor.DistillScheduleHook', warmup=3, stop=900)]
    """

    def __init__(
        self,
        warmup: float = 0,
        start_factor: float = 0.0,
        stop: float | None = None,
        by_epoch: bool = True,
    ) -> None:
        if warmup < 0 or start_factor < 0:
            raise ValueError(
                f'warmup={warmup}, start_factor={start_factor}: expected no '
                'negative number'
            )
        if stop is not None and stop < warmup:
            raise ValueError(
                f'stop={stop} comes before the end of warmup={warmup}: the '
                'distillation would never reach its weight'
            )
        self.warmup = warmup
        self.start_factor = start_factor
        self.stop = stop
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Check that the model and the loop have what is set here."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                'DistillScheduleHook counts epochs, and an IterBasedTrainLoop has '
                'one: give iterations with by_epoch=False'
            )
        if not hasattr(_model(runner), 'distill_factor'):
            raise ValueError(
                f'DistillScheduleHook: {type(_model(runner)).__name__} is no '
                'MultiResolutionDistill; MMRazor has StopDistillHook for others'
            )
        self._stopped = False
        # a training resumed in the middle, or a second one in this process
        _model(runner).distillation_stopped = False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None):
        """Set the factor of this iteration."""
        model = _model(runner)
        passed = float(runner.iter)
        if self.by_epoch:
            passed /= len(runner.train_dataloader)
        if self.stop is not None and passed >= self.stop:
            if not self._stopped:
                runner.logger.info(
                    f'DistillScheduleHook: distillation stops after {self.stop} '
                    f'{"epochs" if self.by_epoch else "iterations"}; the teacher is '
                    'not run any more'
                )
            self._stopped = model.distillation_stopped = True
            return
        rise = 1.0 if passed >= self.warmup else passed / self.warmup
        model.distill_factor = self.start_factor + (1 - self.start_factor) * rise


def _model(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
