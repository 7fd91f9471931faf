"""A run that was interrupted and resumed gives the weights of one that was not."""

from mmengine.dataset import InfiniteSampler
from mmengine.dist import broadcast_object_list, get_dist_info, get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.datasets.partly_labelled_sampler import PartlyLabelledSampler
from fastsegformer_mm.engine.exact_resume import (
    derive_seed,
    seed_generators,
    seeded_loader,
)

KEY = 'exact_resume'
# keep the seeds of iterations and epochs apart from those of samples
ITERATION = 1
EPOCH = 2


class EndlessBatches:
    """What an iteration-based loop takes its batches from.

    MMEngine's own iterator begins to load when the loop is built, before a
    checkpoint is read, and to go on it loads all that was trained on already (or, in
    OneDL's, advances the sampler, but not the generators). This one begins at the
    batch that is due.

    Args:
        loader (DataLoader): Made by :func:`seeded_loader`.
        done (int): How many batches were trained on already.
        dropped (int): How many of MMEngine's requests only want to get rid of
            batches that were trained on.
    """

    def __init__(self, loader, done: int, dropped: int) -> None:
        self._loader = loader
        self._dropped = dropped
        self._batches = loader.batch_sampler
        self._iterator = None
        self._epoch = 0
        if self._batches.endless is None and done:
            self._epoch, done = divmod(done, len(loader))
        self._batches.skip = done

    def skip_iter(self, num_iters: int) -> None:
        """OneDL's loop: to the batch after ``num_iters``, where this one is."""

    def __iter__(self):
        return self

    def __next__(self):
        if self._dropped:
            self._dropped -= 1
            return None
        if self._iterator is None:
            self._begin()
        try:
            return next(self._iterator)
        except StopIteration:
            self._epoch += 1
            self._begin()
            return next(self._iterator)

    def _begin(self) -> None:
        self._batches.epoch = self._epoch
        if hasattr(self._batches.sampler, 'set_epoch'):
            self._batches.sampler.set_epoch(self._epoch)
        self._iterator = iter(self._loader)


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make a resumed training bit-identical to one that was never interrupted.

    All random numbers become a function of the run's seed and of the place in the
    training, so that nothing has to be remembered of what was drawn before:

    * a sample is loaded with generators seeded by (seed, epoch, index), whichever
      worker loads it, so that the number of workers makes no difference either;
    * an iteration (dropout, drop path, what other hooks draw) runs with generators
      of Python, NumPy, torch and the GPUs seeded by (seed, rank, iteration);
    * the sampler goes on at the batch that is due, in the middle of an epoch as
      well, without loading what was trained on.

    Optimizer, schedulers, averaged weights and the message hub are in MMEngine's
    checkpoints already; gradients that are being accumulated are added. On a CPU the
    weights are then equal to the bit, given the same number of threads; on a GPU as
    far as its kernels are deterministic (``randomness=dict(deterministic=True)``).

    It works with MMEngine's epoch- and iteration-based loops and any sampler that
    draws the same indices for the same seed and epoch; one that counts epochs of its
    own, as :class:`PartlyLabelledSampler`, yields each :class:`SampleIndex`. Where
    something differs from the run that wrote the checkpoint (batch size, number of
    processes, length of the data set), training goes on and the log says that it is
    not exact.

    Example:
        >>> default_hooks = dict(exact_resume=dict(type='ExactResumeHook'))
    """

    # before whatever else draws random numbers at the same point
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._seed = None
        self._batches = None
        self._done = 0  # batches of this epoch that were trained on
        self._resumed = None
        self._endless = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember where the checkpoint was written."""
        self._resumed = checkpoint.get(KEY, {})

    def before_train(self, runner: Runner) -> None:
        """Give the loop a loader that begins where training does."""
        # the seed that a checkpoint brings is known only now; rank 0's is in it
        seed = [runner.seed]
        broadcast_object_list(seed)
        self._seed = int(seed[0])
        loop = runner.train_loop
        self._endless = isinstance(loop, IterBasedTrainLoop)
        if not loop.iter:
            # the checkpoint, if any, gave weights to begin with
            self._resumed = None
        self._renew_sampler(runner, loop.dataloader)
        rank, world_size = get_dist_info()
        sampler = getattr(loop.dataloader.batch_sampler, 'sampler', None)
        kwargs = {}
        if isinstance(sampler, InfiniteSampler):
            kwargs = dict(
                endless=len(loop.dataloader.dataset), rank=rank, world_size=world_size
            )
        try:
            loop.dataloader = seeded_loader(loop.dataloader, self._seed, **kwargs)
        except TypeError as error:
            runner.logger.warning(f'Training cannot be resumed exactly: {error}.')
            return
        self._batches = loop.dataloader.batch_sampler
        self._done = self._begin_at(runner)
        if self._endless:
            # MMEngine 0.10.7 asks for every batch that was trained on once more
            advances = not hasattr(type(loop.dataloader_iterator), 'skip_iter')
            loop.dataloader_iterator = EndlessBatches(
                loop.dataloader, self._done, loop.iter if advances else 0
            )
        self._restore_gradients(runner)

    def _renew_sampler(self, runner, loader) -> None:
        """The sampler's seed is the run's, which resuming may have changed."""
        batch_sampler = loader.batch_sampler
        sampler = getattr(batch_sampler, 'sampler', None)
        configured = runner.cfg.get('train_dataloader', {}).get('sampler', {})
        fixed = isinstance(configured, dict) and configured.get('seed') is not None
        if type(sampler) is InfiniteSampler:
            # it may have begun to draw already, and cannot go back
            seed = sampler.seed if fixed else self._seed
            batch_sampler.sampler = InfiniteSampler(
                sampler.dataset, shuffle=sampler.shuffle, seed=seed
            )
        elif hasattr(sampler, 'seed') and not fixed:
            sampler.seed = self._seed

    def _begin_at(self, runner) -> int:
        """How many batches of the epoch (or of all) were trained on."""
        if self._resumed is None:
            return runner.iter if self._endless else 0
        then, now = self._resumed.get('data'), self._data(runner)
        if then != now:
            runner.logger.warning(
                'This training goes on, but not exactly as it would have without the '
                f'interruption: the checkpoint was written with {then or "no note"}, '
                f'and this run has {now}.'
            )
            return runner.iter if self._endless else 0
        done = int(self._resumed['done'])
        if done:
            runner.logger.info(
                f'Training goes on after batch {done}'
                + ('' if self._endless else f' of epoch {runner.epoch + 1}')
                + '; what was trained on is not loaded again.'
            )
        return done

    def _data(self, runner) -> dict:
        loader = runner.train_loop.dataloader
        found = dict(
            seed=self._seed,
            samples=len(loader.dataset),
            batch_size=loader.batch_sampler.batch_size,
            processes=get_dist_info()[1],
        )
        sampler = loader.batch_sampler.sampler
        if isinstance(sampler, PartlyLabelledSampler):
            found.update(labelled=sampler.sizes[0], of_a_batch=sampler.counts[0])
        return found

    def before_train_epoch(self, runner: Runner) -> None:
        """Leave out what was trained on of a resumed epoch."""
        self._seed_at(EPOCH, runner.epoch)
        if self._batches is not None and not self._endless:
            self._batches.epoch = runner.epoch
            self._batches.skip = self._done

    def before_train_iter(self, runner: Runner, batch_idx, data_batch=None) -> None:
        """Seed all generators by the iteration."""
        self._seed_at(ITERATION, runner.iter)

    def _seed_at(self, kind, number) -> None:
        seed = derive_seed(self._seed, kind, get_rank(), number)
        seed_generators(seed, accelerators=True)

    def after_train_iter(
        self, runner: Runner, batch_idx, data_batch=None, outputs=None
    ) -> None:
        """Count."""
        self._done += 1

    def after_train_epoch(self, runner: Runner) -> None:
        """The next epoch begins at its beginning."""
        if not self._endless:
            self._done = 0

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Note where training is, and gradients that wait for their step."""
        if self._batches is None:
            return
        state = dict(data=self._data(runner), done=self._done)
        wrapper = runner.optim_wrapper
        if (
            isinstance(wrapper, OptimWrapper)
            and 'optimizer' in checkpoint
            and not wrapper.should_update()
        ):
            state['gradients'] = {
                name: parameter.grad.detach().cpu()
                for name, parameter in self._model(runner).named_parameters()
                if parameter.grad is not None
            }
            if get_dist_info()[1] > 1:
                runner.logger.warning(
                    'This checkpoint lies between two steps of the optimizer, and '
                    'holds the accumulated gradients of rank 0 alone; for an exact '
                    'resume save after a multiple of accumulative_counts iterations.'
                )
        checkpoint[KEY] = state

    def _restore_gradients(self, runner) -> None:
        gradients = (self._resumed or {}).get('gradients', {})
        for name, parameter in self._model(runner).named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter, copy=True)

    @staticmethod
    def _model(runner):
        return runner.model.module if is_model_wrapper(runner.model) else runner.model
