"""Faults of the data are told before the first iteration."""
from collections.abc import Callable, Sequence
from functools import partial

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from fastsegformer_mm.datasets.checks import (
    DatasetError,
    DatasetReport,
    check_dataset,
    splits_of,
)
from fastsegformer_mm.datasets.checks.console import problem_lines


@HOOKS.register_module()
class CheckDatasetHook(Hook):
    """Check the data of the splits in use, and stop at an error.

    Before training the splits train and val (if there is validation), before a mere
    validation or test its own split: all folders, split files and options, and the
    pixels of ``sample`` pairs of each. Errors stop the run before the first
    iteration; warnings are logged. Of an :class:`UnlabelledDataset` the images are
    checked, and that the losses of the labels leave them alone.
    ``tools/analysis_tools/check_dataset.py`` makes the same check by hand.

    Rank 0 checks, and all ranks stop. A data set of a kind that is not understood is
    logged and left alone, as is a check that fails itself.

    A data loader that cannot be built at all (an empty folder, a wrong suffix) fails
    before any hook is called. The hook therefore wraps ``Runner.build_dataloader``,
    once, so that the clear error is raised from the original one. There, each rank
    checks for itself: perhaps only its own disk lacks the files.

    Args:
        full (bool): Look into all pairs. Defaults to False.
        sample (int): Pairs of each split to look into otherwise, evenly spread, the
            same every time. Defaults to 32.
        processes (int): How many read at once. Defaults to 1.
        show (int): Lines of one kind in the error and the log. Defaults to 10.
        ignore (Sequence[str]): Kinds of problems to pass over, as
            'train-val-duplicate'. Defaults to ().

    Raises:
        ValueError: For ``sample``, ``processes`` or ``show`` below 1.
        DatasetError: At the start, when the data has errors.

    Example:
        >>> custom_hooks = [dict(type='CheckDatasetHook', full=True, processes=8)]
    """

    # before the hooks that score or draw with the data
    priority = 'VERY_HIGH'

    def __init__(self, full: bool = False, sample: int = 32, processes: int = 1,
                 show: int = 10, ignore: Sequence[str] = ()) -> None:
        for name, value in (('sample', sample), ('processes', processes),
                            ('show', show)):
            if value < 1:
                raise ValueError(f'CheckDatasetHook: {name} is {value}, expected 1 '
                                 'or more')
        self.sample = None if full else sample
        self.processes = processes
        self.show = show
        self.ignore = tuple(ignore)
        self._checked: set[str] = set()
        _explain_failed_builds()

    def before_train(self, runner: Runner) -> None:
        """Check the training images, and those of the validation."""
        self._check(runner, ['train'] + ['val'] * (runner.val_loop is not None))

    def before_val(self, runner: Runner) -> None:
        """Check those of a validation without training."""
        self._check(runner, ['val'])

    def before_test(self, runner: Runner) -> None:
        """Check the test images."""
        self._check(runner, ['test'])

    def _check(self, runner: Runner, splits: list[str]) -> None:
        splits = [split for split in splits if split not in self._checked]
        if not splits:
            return
        self._checked.update(splits)
        message = [None]
        if is_main_process():
            report = self._report(runner, splits, self.sample)
            if report is not None:
                self._log(runner, report)
                message[0] = self._message(report)
        broadcast_object_list(message)
        if message[0]:
            raise DatasetError(message[0])

    def _report(self, runner: Runner, splits: list[str], sample: int | None
                ) -> DatasetReport | None:
        """The check; None where it cannot be made."""
        known = [split for split in splits if split in splits_of(runner.cfg)]
        if not known:
            runner.logger.info('CheckDatasetHook: the config describes no data of '
                               f'{", ".join(splits)}, which are not checked')
            return None
        try:
            return check_dataset(
                runner.cfg, known, sample=sample, processes=self.processes,
                ignore=self.ignore)
        except Exception as error:
            # no fault of the check may cost a training
            runner.logger.warning(
                f'CheckDatasetHook: the data was not checked, {type(error).__name__}: '
                f'{error}')
            return None

    def _log(self, runner: Runner, report: DatasetReport) -> None:
        for line in problem_lines(report, report.warnings, self.show):
            runner.logger.warning(f'CheckDatasetHook: {line}')
        counts = ', '.join(
            f'{name} {split.checked} of {max(split.images, split.pairs)}'
            + f' ({split.unlabelled} without labels)' * bool(split.unlabelled)
            for name, split in report.splits.items())
        runner.logger.info(
            f'CheckDatasetHook: {len(report.errors)} error(s) and '
            f'{len(report.warnings)} warning(s); pairs looked into: {counts}; '
            f'{report.seconds:.1f} s')

    def _message(self, report: DatasetReport) -> str:
        """The text of the error; '' without errors."""
        if report.ok:
            return ''
        config = report.config or 'CONFIG'
        return '\n  '.join([
            f'the data of {config} has {len(report.errors)} error(s):',
            *problem_lines(report, report.errors, self.show),
            'everything found, with pictures: python tools/analysis_tools/'
            f'check_dataset.py {config} --fix-report report.html',
            "a kind that is meant to be so: give the hook ignore=('KIND', )"])

    def explain(self, runner: Runner, dataloader, error: Exception) -> None:
        """Raise what is wrong with the data that could not be built, if anything is.

        Args:
            runner (Runner): Whose data loader it is.
            dataloader (dict): Its config.
            error (Exception): What building raised.

        Raises:
            DatasetError: From ``error``, when the check finds errors.
        """
        wanted = dataloader.get('dataset') if isinstance(dataloader, dict) else None
        split = next((split for split in splits_of(runner.cfg)
                      if runner.cfg[f'{split}_dataloader']['dataset'] == wanted), None)
        if split is None:
            return
        report = self._report(runner, [split], self.sample)
        message = self._message(report) if report is not None else ''
        if message:
            raise DatasetError(message) from error
        runner.logger.info('CheckDatasetHook: found nothing that explains why the '
                           f'{split} data cannot be built')


class _ExplainedBuild:
    """``Runner.build_dataloader`` that asks the runner's hook when building fails.

    MMEngine's is a static method, called on the runner by its loops; a descriptor
    keeps both ways of calling it and knows the runner, so that runners without the
    hook are not affected.
    """

    def __init__(self, build: Callable) -> None:
        self.build = build

    def __get__(self, runner: Runner | None, owner: type):
        if runner is None:
            return self.build
        return partial(self._call, runner)

    def _call(self, runner: Runner, dataloader, *args, **kwargs):
        try:
            return self.build(dataloader, *args, **kwargs)
        except Exception as error:
            for hook in runner.hooks:
                if isinstance(hook, CheckDatasetHook):
                    hook.explain(runner, dataloader, error)
            raise


def _explain_failed_builds() -> None:
    """Wrap ``Runner.build_dataloader``, once.

    MMEngine builds the data loaders before its first hook point (``before_run``),
    and gives a hook no runner before; there is no other place.
    """
    if not isinstance(vars(Runner)['build_dataloader'], _ExplainedBuild):
        Runner.build_dataloader = _ExplainedBuild(Runner.build_dataloader)
