"""A loss that is NaN or infinite does no harm, and tells where it came from."""

from pathlib import Path

import torch
from mmengine.dist import all_gather_object, all_reduce, get_dist_info
from mmengine.hooks import Hook
from mmengine.model import MMSeparateDistributedDataParallel, is_model_wrapper
from mmengine.runner import Runner, find_latest_checkpoint
from mmseg.registry import HOOKS
from torch.nn.parallel import DistributedDataParallel

from fastsegformer_mm.engine.checkpoint.write import write_checkpoint
from fastsegformer_mm.engine.non_finite.buffer_snapshot import BufferSnapshot
from fastsegformer_mm.engine.non_finite.diagnosis import (
    Findings,
    NonFiniteLossError,
    bad_values,
    describe,
    examine,
    summarise,
)
from fastsegformer_mm.engine.non_finite.gradient_accumulation import (
    leave_out,
    optim_wrappers,
)
from fastsegformer_mm.engine.non_finite.random_state import RandomState
from fastsegformer_mm.engine.non_finite.replay import autocast_state, record

# in the message hub, which checkpoints hold
SKIPS = 'non_finite_skips'


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop training, or skip the batch, before a non-finite loss reaches weights.

    The plain stack takes the step: all weights become NaN, and training goes on to
    the end with them. This hook looks at the loss between forward and backward
    pass. When it is NaN or infinite, on any process, all of them

    * put every buffer back to before the iteration: the forward pass has spoilt the
      running statistics of BatchNorm already;
    * compute no gradient and take no step: weights, optimizer and accumulated
      gradients stay as they are to the bit;
    * tell the terms of the loss that are not finite, iteration and epoch, learning
      rate, the files of the batch, and whether images and weights are finite;
    * write ``iter_N.pth`` (``iter_N_rankR.pth`` with several processes, by those
      whose loss it is) with the batch, the weights and the random states, which
      ``tools/analysis_tools/replay_non_finite.py`` computes again.

    ``action='stop'`` then raises :class:`NonFiniteLossError`; ``'skip'`` warns and
    takes the next batch, in accumulation of gradients in the place of the skipped
    one. A skipped iteration counts as one for schedules and logs nothing. Broken
    weights, which no skipping helps, always stop.

    Gradients are not looked at: in mixed precision infinite ones are usual, and the
    gradient scaler's business.

    While all is well it costs a copy of the buffers and of the random states, one
    number brought from the GPU (MMEngine waits for the same one to log it, after the
    step) and, with several processes, an all-reduce of it.

    Args:
        action (str): 'stop' or 'skip'. Defaults to 'stop'.
        max_skips (int, optional): Iterations that may be skipped in the whole
            training, the one before a resume included; one more stops it. None
            sets no limit. Defaults to 10.
        max_consecutive_skips (int, optional): The same in a row. Defaults to 3.
        max_saves (int): Files that a process may write in a run. Defaults to 3.
        out_dir (str, optional): Their folder. Defaults to None:
            ``WORK_DIR/non_finite``.

    Raises:
        ValueError: An argument is out of its range.
        NonFiniteLossError: While training; see above.

    Example:
        >>> custom_hooks = [dict(type='NonFiniteLossHook', action='skip')]
    """

    # the state to remember is the one that the other hooks leave
    priority = 'LOWEST'

    def __init__(
        self,
        action: str = 'stop',
        max_skips: int | None = 10,
        max_consecutive_skips: int | None = 3,
        max_saves: int = 3,
        out_dir: str | None = None,
    ) -> None:
        if action not in ('stop', 'skip'):
            raise ValueError(f"action={action!r}: expected 'stop' or 'skip'")
        for name, value, least in (
            ('max_skips', max_skips, 1),
            ('max_consecutive_skips', max_consecutive_skips, 1),
            ('max_saves', max_saves, 0),
        ):
            if value is not None and value < least:
                raise ValueError(
                    f'{name}={value}: expected at least {least}'
                    + ("; to skip nothing set action='stop'" if least else '')
                )
        self.action = action
        self.max_skips = max_skips
        self.max_consecutive_skips = max_consecutive_skips
        self.max_saves = max_saves
        self.out_dir = out_dir
        self._undo = []

    def before_train(self, runner: Runner) -> None:
        """Put the check between forward and backward pass.

        No hook is called there, so it goes around two methods of this run's own
        model and optimizer wrapper, until the training ends.
        """
        self._remove()
        self._runner = runner
        self._rank, self._world_size = get_dist_info()
        self._skips = runner.message_hub.get_info(SKIPS, 0) if runner.iter else 0
        self._consecutive = self._saves = 0
        self._batch = self._random = self._autocast = self._sound = None
        self._watching = self._skipped = False
        model = runner.model
        # other wrappers, as FSDP, leave each process a part of the weights
        self._has_weights = not is_model_wrapper(model) or isinstance(
            model, DistributedDataParallel | MMSeparateDistributedDataParallel
        )
        self._model = model.module if is_model_wrapper(model) else model
        self._snapshot = BufferSnapshot(self._model)
        self._wrap(self._model, 'parse_losses', self._parse_losses)
        for wrapper in optim_wrappers(runner):
            self._wrap(wrapper, 'update_params', self._update_params)
            # a resumed one counts the iterations, skipped ones included
            leave_out(wrapper, self._skips, counted=True)
        preprocessor = self._model.data_preprocessor
        begin = self._eager(lambda *args: self._begin(args[-1]))
        self._undo.append(preprocessor.register_forward_hook(begin).remove)

    def _eager(self, function):
        """Nothing that ``compile`` should make a part of the network."""
        compiled = self._runner.cfg.get('compile')
        return torch._dynamo.disable(function) if compiled else function

    def _wrap(self, owner, name, around) -> None:
        inner = getattr(owner, name)

        # functions, here and above: a copy of the model, as some hooks make, would
        # copy a bound method or a partial with this hook and all that it holds
        def method(*args, **kwargs):
            return around(owner, inner, *args, **kwargs)

        setattr(owner, name, self._eager(method))
        self._undo.append(lambda: delattr(owner, name))

    def _remove(self) -> None:
        while self._undo:
            self._undo.pop()()
        self._runner = self._model = self._snapshot = self._batch = None

    def after_train(self, runner: Runner) -> None:
        """Leave model and optimizer wrapper as they were."""
        self._remove()

    def before_train_iter(self, runner: Runner, batch_idx, data_batch=None) -> None:
        """Remember the buffers."""
        self._snapshot.take()
        self._watching = True
        self._skipped = False
        self._sound = None

    def _begin(self, batch) -> None:
        """Remember what the network is given, and the random states."""
        if not self._watching:
            return
        self._batch = batch
        self._device = next(self._model.parameters()).device
        self._random = RandomState(self._device)
        self._autocast = autocast_state(self._device)

    def after_train_iter(
        self, runner: Runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Let the batch go."""
        self._watching = False
        self._batch = None
        if not self._skipped:
            self._consecutive = 0

    def _parse_losses(self, model, parse_losses, losses):
        loss, log_vars = parse_losses(losses)
        if self._watching and not self._check(loss, log_vars):
            # a NaN would stay in the logged means for long
            log_vars = type(log_vars)()
        return loss, log_vars

    def _update_params(self, wrapper, update_params, loss, *args, **kwargs) -> None:
        if self._watching and self._sound is None:
            # a model that puts its losses together in its own way
            self._check(loss, dict(loss=loss))
        sound, self._sound = self._sound, None
        if sound is False:
            leave_out(wrapper, 1)
        else:
            update_params(loss, *args, **kwargs)

    def _check(self, loss, terms: dict) -> bool:
        """Whether the loss is finite on all processes; if not, act."""
        if self._world_size > 1:
            flag = torch.as_tensor(loss).detach().isfinite().logical_not()
            flag = flag.to(torch.int32).reshape(1)
            all_reduce(flag, 'max')
            sound = not flag.item()
        else:
            sound = bool(torch.as_tensor(loss).detach().isfinite())
        self._sound = sound and self._sound is not False
        if not sound:
            self._act({name: float(value) for name, value in terms.items()})
        return sound

    @torch.no_grad()
    def _act(self, losses: dict) -> None:
        runner = self._runner
        self._snapshot.restore()
        found = examine(self._model, self._batch, losses, self._rank)
        found.reduced_precision = self._autocast and self._autocast['dtype']
        if found.bad_losses:
            found.saved = self._save(found)
        findings = all_gather_object(found)
        if self.action == 'skip' and not self._skipped:
            self._skips += 1
            self._consecutive += 1
            self._skipped = True
            runner.message_hub.update_info(SKIPS, self._skips)
        reason = self._reason_to_stop(findings)
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        if reason is None:
            # dropout draws for the next batch what it would have without this one
            if self._random is not None:
                RandomState.restore(self._random.plain(), self._device)
            runner.logger.warning(
                f'NonFiniteLossHook skips {where}: {summarise(findings)}; '
                f'{self._skips} skipped of at most {self.max_skips}'
            )
            return
        # asked for where there is none, MMEngine says that nothing can be resumed
        known = Path(runner.work_dir, 'last_checkpoint').exists()
        checkpoint = find_latest_checkpoint(runner.work_dir) if known else 'none yet'
        self._remove()
        raise NonFiniteLossError(
            f'the loss is not finite in {where}: {bad_values(findings)}. {reason}\n'
            f'{describe(findings, runner.optim_wrapper.get_lr(), checkpoint)}'
        )

    def _reason_to_stop(self, findings: list[Findings]) -> str | None:
        if self.action == 'stop':
            return (
                'Training stops here, weights as before this iteration; '
                "NonFiniteLossHook(action='skip') would leave such batches out."
            )
        if any(f.bad_weights for f in findings):
            return 'Training stops here: no skipping helps broken weights.'
        for name, count in (
            ('max_skips', self._skips),
            ('max_consecutive_skips', self._consecutive),
        ):
            limit = getattr(self, name)
            if limit is not None and count > limit:
                return (
                    f'Training stops here, as NonFiniteLossHook({name}={limit}) '
                    'batches were skipped already.'
                )
        return None

    def _save(self, found: Findings) -> str:
        """Write the file; how it went."""
        if self._saves >= self.max_saves:
            return f'nothing (max_saves={self.max_saves})'
        runner = self._runner
        rank = f'_rank{self._rank}' if self._world_size > 1 else ''
        folder = Path(self.out_dir or Path(runner.work_dir, 'non_finite'))
        path = folder / f'iter_{runner.iter + 1}{rank}.pth'
        content = record(
            self._model,
            self._batch,
            found,
            self._has_weights,
            iteration=runner.iter + 1,
            epoch=runner.epoch + 1,
            rank=self._rank,
            world_size=self._world_size,
            learning_rate=dict(runner.optim_wrapper.get_lr()),
            random_state=self._random and self._random.plain(),
            autocast=self._autocast,
            config=runner.message_hub.get_info('cfg', ''),
        )
        try:
            write_checkpoint(content, path)
        except OSError as error:  # a full disk must not hide what was found
            return f'nothing: {path} cannot be written ({error})'
        self._saves += 1
        return str(path)
