"""How much each loss of the distillation counts, by its gradient."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from fastsegformer_mm.distillation.errors import DistillationError
from fastsegformer_mm.distillation.gradients import (
    describe,
    find_layers,
    loss_weights,
    measure,
)

KEY = 'gradient_balance'


@HOOKS.register_module()
class GradientBalanceHook(Hook):
    """Measure the gradient of each distillation loss beside the task's, and set it.

    Every ``interval`` iterations, the first included, it logs of each loss its value,
    the L2 norm of its gradient with respect to the parameters of a layer of the
    student, as a multiple of that of the task (the sum of the student's own losses),
    and the cosine between both. That takes one more backward pass, without the
    optimizer's step, for each loss.

    With ``share`` a loss gets the factor that makes its norm this share of the
    task's, in place of its ``loss_weight``::

        factor = share / ratio,  ratio <- ratio^momentum * measured^(1 - momentum)

    and ``max_factor`` at most. A factor is set in the iteration that was measured, and
    multiplies whatever DistillScheduleHook sets. Where the task or a loss has no
    gradient, or an infinite one (as with a loss scale that is too large), the former
    factor stays. Without ``share`` the training is the same to the bit as without the
    hook.

    Several processes average the gradients, as DDP does, and so set equal factors.
    AMP and the accumulation of gradients are left as they are. The ratios are in each
    checkpoint, so that a resumed training goes on with them. A student that
    checkpoints activations by PyTorch's older way (``with_cp`` in most of
    MMSegmentation's backbones) refuses a backward pass to some parameters alone.

    Args:
        layer (str | Sequence[str], optional): The module or modules, such as
            'architecture.backbone.stem', at whose parameters losses are compared; a
            loss that does not reach any is only logged. Defaults to None: the first
            layer of the student that all losses reach; where there is none, the one
            that most of them reach, and further ones for the others.
        interval (int): Iterations between two measurements. Defaults to 100.
        share (dict[str, float], optional): Shares of the task's gradient norm, > 0,
            by the names in ``distill_losses``, or by patterns such as 'loss_nfd_*' or
            '*'; the first that fits counts. Defaults to None, measure only.
        momentum (float): Of the ratios, in [0, 1). Defaults to 0.5.
        max_factor (float): Of a loss whose gradient vanishes, > 0. Defaults to 100.

    Raises:
        ValueError: An argument is out of its range.
        DistillationError: At the start of training, the model is no
            MultiResolutionDistill, has no losses of its own, or no loss that ``share``
            names; at a measurement, ``layer`` does not exist or is frozen.

    Example:
        >>> custom_hooks = [
        ...     dict(type='mmrazor.GradientBalanceHook',
        ...          share={'loss_pkl': 0.5, 'loss_nfd_*': 0.1})]
    """

    def __init__(
        self,
        layer: str | Sequence[str] | None = None,
        interval: int = 100,
        share: Mapping[str, float] | None = None,
        momentum: float = 0.5,
        max_factor: float = 100.0,
    ) -> None:
        if interval < 1:
            raise ValueError(f'interval={interval}: expected at least 1')
        if not 0 <= momentum < 1:
            raise ValueError(f'momentum={momentum}: expected a number in [0, 1)')
        if max_factor <= 0:
            raise ValueError(f'max_factor={max_factor}: expected more than 0')
        self.layer = layer
        self.interval = interval
        self.share = dict(share or {})
        for name, value in self.share.items():
            if value <= 0:
                raise ValueError(
                    f'share[{name!r}]={value}: expected more than 0; to leave a loss '
                    'out, take it out of distill_losses'
                )
        self.momentum = momentum
        self.max_factor = max_factor
        self.ratios: dict[str, float] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take up the ratios."""
        self.ratios = dict(checkpoint.get(KEY) or {})

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep them."""
        checkpoint[KEY] = dict(self.ratios)

    def before_train(self, runner: Runner) -> None:
        """Check the names, and set the factors of a resumed training."""
        model = _model(runner)
        if not hasattr(model, 'loss_factors'):
            raise DistillationError(
                f'GradientBalanceHook: {type(model).__name__} is no '
                'MultiResolutionDistill; take the hook out of custom_hooks'
            )
        if not model.calculate_student_loss:
            raise DistillationError(
                "GradientBalanceHook compares with the gradient of the student's own "
                'losses, and calculate_student_loss=False leaves them out'
            )
        losses = [n for n in model.distiller.loss_forward_mappings if 'loss' in n]
        for pattern in self.share:
            if not any(fnmatchcase(name, pattern) for name in losses):
                raise DistillationError(
                    f'GradientBalanceHook: share names {pattern!r}; the losses of the '
                    f'distillation are {", ".join(losses)}'
                )
        if not runner.iter:
            # a checkpoint, if any, gave weights to begin with
            self.ratios = {}
        self._set_factors(model)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None):
        """Look at the losses of this iteration, if it is due."""
        if runner.iter % self.interval:
            return
        model = _model(runner)

        # a function: a copy of the model would copy a bound method with its hook
        def observe(losses):
            self._measure(runner, model, losses)

        model.loss_observer = observe

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Not at the next one."""
        _model(runner).loss_observer = None

    def after_train(self, runner: Runner) -> None:
        """Leave the model as it was."""
        _model(runner).loss_factors = {}

    def _measure(self, runner, model, losses):
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        layers = find_layers(model, losses, self.layer)
        rows = measure(
            losses,
            layers,
            scale=scaler.get_scale() if scaler is not None else 1.0,
            factors=model.loss_factors,
        )
        for row in rows[1:-1]:
            if 0 < row.share < float('inf'):
                old = self.ratios.get(row.name, row.share)
                kept = old**self.momentum
                self.ratios[row.name] = kept * row.share ** (1 - self.momentum)
        self._set_factors(model)
        factors = model.loss_factors if self.share else None
        runner.logger.info(
            f'GradientBalanceHook: iteration {runner.iter + 1}, gradients at '
            f'{", ".join(layers)}\n{describe(rows, loss_weights(model), factors)}'
        )
        scalars = {f'gradient/{r.name}': r.norm for r in rows if r.norm == r.norm}
        if factors:
            scalars |= {f'factor/{name}': f for name, f in factors.items()}
        runner.visualizer.add_scalars(scalars, step=runner.iter + 1)

    def _set_factors(self, model):
        model.loss_factors = {
            name: min(share / ratio, self.max_factor)
            for name, ratio in self.ratios.items()
            if (share := self._share(name)) is not None
        }

    def _share(self, name):
        fitting = (s for p, s in self.share.items() if fnmatchcase(name, p))
        return next(fitting, None)


def _model(runner):
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
