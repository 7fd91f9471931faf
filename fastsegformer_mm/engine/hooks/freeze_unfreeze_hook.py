"""Train the new parts first, the pretrained ones from a later epoch on."""
import difflib
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import MMSeparateDistributedDataParallel, is_model_wrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@HOOKS.register_module()
class FreezeUnfreezeHook(Hook):
    """Freeze parts of the model, and unfreeze them once during training.

    `FastSegFormer <https://doi.org/10.1016/j.compag.2023.108604>`_ trains with an
    ImageNet-pretrained backbone this way: frozen for the first 50 of 1000 epochs,
    so that the gradients of the untrained decoder do not spoil it.

    * Frozen parameters need no gradient and have none: no optimizer moves them,
      weight decay included. They are in the optimizer from the start, which is
      never built anew, so that the state of the others (Adam's moments, the
      learning rate schedule) lives on and ``paramwise_cfg`` holds for all.
    * What was frozen before training, as by a backbone's ``frozen_stages``, stays
      frozen after.
    * Resuming looks at the epoch (iteration) of the checkpoint: what is frozen
      depends on that alone.
    * Under ``DistributedDataParallel`` the wrapper is made anew at both changes,
      since it waits for a gradient of each parameter that needed one when it was
      made. ``find_unused_parameters`` is not needed. Rank 0's buffers are sent to
      all ranks on this occasion, as always when a wrapper is made.

    Args:
        modules (str | Sequence[str]): Names of the modules in the model, dots
            for nested ones, as 'backbone' or 'decode_head.pyramid'. Defaults to
            ('backbone', ).
        unfreeze_epoch (int, optional): Number of epochs to stay frozen; the log
            shows the first epoch that trains all as the one after. For
            EpochBasedTrainLoop. Give either this or ``unfreeze_iter``.
        unfreeze_iter (int, optional): Number of iterations to stay frozen, with
            either train loop.
        norm_eval (bool): Keep frozen norm layers in eval mode, so that they use
            and keep their running statistics; with False these follow the
            training images while the weights rest, as in the official code.
            Defaults to True.

    Raises:
        ValueError: When not exactly one of ``unfreeze_epoch`` and
            ``unfreeze_iter`` is given, or it is below 1; at the start of training
            when the model has no such module, when nothing is left to train, or
            for ``unfreeze_epoch`` with IterBasedTrainLoop.
        TypeError: At the start of training, for a model wrapper other than
            DistributedDataParallel.

    Example:
        >>> custom_hooks = [
        ...     dict(type='FreezeUnfreezeHook', modules='backbone',
        ...          unfreeze_epoch=50)]
    """

    def __init__(self,
                 modules: str | Sequence[str] = ('backbone', ),
                 unfreeze_epoch: int | None = None,
                 unfreeze_iter: int | None = None,
                 norm_eval: bool = True) -> None:
        if (unfreeze_epoch is None) == (unfreeze_iter is None):
            raise ValueError(
                f'unfreeze_epoch={unfreeze_epoch}, unfreeze_iter={unfreeze_iter}: '
                'expected exactly one of them; to freeze parts of a backbone for '
                'the whole training use its frozen_stages')
        duration = unfreeze_iter if unfreeze_epoch is None else unfreeze_epoch
        if duration < 1:
            raise ValueError(
                f'unfreezing at {duration}, expected at least 1; leave the hook '
                'out to train everything from the start')
        self.modules = (modules, ) if isinstance(modules, str) else tuple(modules)
        if not self.modules:
            raise ValueError("modules is empty, expected names like 'backbone'")
        self.by_epoch = unfreeze_epoch is not None
        self.duration = duration
        self.norm_eval = norm_eval
        self._reset()

    def _reset(self) -> None:
        self._frozen = False
        self._params: list[nn.Parameter] = []
        self._norms: list[nn.Module] = []
        self._norms_put_in_eval: set[nn.Module] = set()

    @property
    def _unit(self) -> str:
        return 'epochs' if self.by_epoch else 'iterations'

    def before_train(self, runner: Runner) -> None:
        """Freeze, unless a resumed training is past that.

        Not earlier: the optimizer must have been built (its constructor leaves
        out parameters that need no gradient) and the checkpoint been loaded.
        """
        self._reset()
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise ValueError(
                f'unfreeze_epoch={self.duration} never comes in an '
                'IterBasedTrainLoop, which has one epoch: give unfreeze_iter')
        modules = self._find_modules(_unwrap(runner))
        if self._is_over(runner):
            runner.logger.info(
                f'FreezeUnfreezeHook: training goes on from {self._unit[:-1]} '
                f'{self._passed(runner)}, nothing is frozen after {self.duration} '
                f'{self._unit}')
            return
        planned = runner.max_epochs if self.by_epoch else runner.max_iters
        if self.duration >= planned:
            runner.logger.warning(
                f'FreezeUnfreezeHook: {", ".join(self.modules)} will stay frozen '
                f'to the end, {self.duration} {self._unit} are not less than the '
                f'{planned} of this training')
        self._freeze(runner, modules)

    def before_train_epoch(self, runner: Runner) -> None:
        """Unfreeze when an epoch is the first to train all."""
        if self._frozen and self.by_epoch and self._is_over(runner):
            self._unfreeze(runner)

    def before_train_iter(self, runner: Runner, batch_idx: int,
                          data_batch=None) -> None:
        """Unfreeze when it is time, or else hold the norm layers in eval mode.

        The loops call ``model.train()`` after ``before_train_epoch`` and, after
        each validation, before the next iteration: here is the first place where
        eval mode lasts.
        """
        if not self._frozen:
            return
        if not self.by_epoch and self._is_over(runner):
            self._unfreeze(runner)
            return
        for norm in self._norms:
            if norm.training:
                norm.eval()
                self._norms_put_in_eval.add(norm)

    def _passed(self, runner: Runner) -> int:
        return runner.epoch if self.by_epoch else runner.iter

    def _is_over(self, runner: Runner) -> bool:
        return self._passed(runner) >= self.duration

    def _find_modules(self, model: nn.Module) -> list[nn.Module]:
        known = dict(model.named_modules())
        for name in self.modules:
            if name not in known or not name:
                near = difflib.get_close_matches(name, known, n=5)
                near = near or [child for child, _ in model.named_children()]
                raise ValueError(
                    f'FreezeUnfreezeHook: {type(model).__name__} has no module '
                    f'{name!r}, the nearest are: {", ".join(near)}')
        return [known[name] for name in self.modules]

    def _freeze(self, runner: Runner, modules: list[nn.Module]) -> None:
        # dicts and not lists: nested names may be given beside their parents
        params = {p: None for m in modules for p in m.parameters() if p.requires_grad}
        norms = {
            norm: None
            for module in modules for norm in module.modules()
            if getattr(norm, 'running_mean', None) is not None
        }
        for param in params:
            param.requires_grad_(False)
            # a gradient that was left over, even 0, would let weight decay act
            param.grad = None
        if not any(p.requires_grad for p in runner.model.parameters()):
            raise ValueError(
                f'FreezeUnfreezeHook: with {", ".join(self.modules)} frozen no '
                'parameter is left to train')
        self._frozen = True
        self._params = list(params)
        self._norms = list(norms) if self.norm_eval else []
        _renew_wrapper(runner)
        runner.logger.info(
            f'FreezeUnfreezeHook: froze {self._amount()} of '
            f'{", ".join(self.modules)} for the first {self.duration} '
            f'{self._unit}')

    def _unfreeze(self, runner: Runner) -> None:
        for param in self._params:
            param.requires_grad_(True)
        # only those that were in train mode: a backbone may hold others in eval
        for norm in self._norms_put_in_eval:
            norm.train()
        _renew_wrapper(runner)
        runner.logger.info(
            f'FreezeUnfreezeHook: unfroze {self._amount()} of '
            f'{", ".join(self.modules)} after {self.duration} {self._unit}')
        self._reset()

    def _amount(self) -> str:
        numel = sum(p.numel() for p in self._params)
        return (f'{len(self._params)} parameters ({numel:,} values) and the '
                f'statistics of {len(self._norms)} norm layers')


def _unwrap(runner: Runner) -> nn.Module:
    """The model itself; TypeError for a wrapper that cannot be made anew."""
    wrapper = runner.model
    if not is_model_wrapper(wrapper):
        return wrapper
    if (not isinstance(wrapper, DistributedDataParallel)
            or isinstance(wrapper, MMSeparateDistributedDataParallel)
            or not hasattr(runner, 'wrap_model')):
        raise TypeError(
            'FreezeUnfreezeHook works with MMDistributedDataParallel in '
            f'mmengine.Runner, not with {type(wrapper).__name__} in '
            f'{type(runner).__name__}: set model_wrapper_cfg to '
            "dict(type='MMDistributedDataParallel') or leave the hook out")
    return wrapper.module


def _renew_wrapper(runner: Runner) -> None:
    """Make the DDP wrapper anew for the parameters that need gradients now."""
    model = _unwrap(runner)
    if model is runner.model:
        return
    runner.model = model
    # The layers were converted when the runner first wrapped the model. Converting
    # them again would put copies in their place, without the hooks on them.
    sync_bn = runner.cfg.pop('sync_bn', None)
    try:
        runner.model = runner.wrap_model(
            runner.cfg.get('model_wrapper_cfg'), model)
    finally:
        if sync_bn is not None:
            runner.cfg.sync_bn = sync_bn
    # what the runner had compiled was the old wrapper's train_step
    runner._maybe_compile('train_step')
