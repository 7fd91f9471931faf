"""One process of several writes the logs."""

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import LoggerHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class MainProcessLoggerHook(LoggerHook):
    """MMEngine's LoggerHook, whose files rank 0 alone writes.

    After a test every rank of MMEngine's own writes the figures into one and the
    same JSON file, all at once; with ``out_dir`` every rank copies and removes the
    log files. Arguments are those of :class:`mmengine.hooks.LoggerHook`.

    Example:
        >>> default_hooks = dict(
        ...     logger=dict(type='MainProcessLoggerHook', interval=50))
    """

    @master_only
    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Log the figures and write them into ``WORK_DIR/TIMESTAMP``."""
        super().after_test_epoch(runner, metrics)

    def after_run(self, runner: Runner) -> None:
        """Close the visualizer, and take the logs to ``out_dir``."""
        if is_main_process():
            super().after_run(runner)
        else:
            runner.visualizer.close()
