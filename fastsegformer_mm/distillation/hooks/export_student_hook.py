"""Beside each checkpoint of a distillation, the student alone."""

from pathlib import Path

from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from fastsegformer_mm.engine.checkpoint.student import export_student

SUFFIXES = ('.pth', '.safetensors')


@HOOKS.register_module()
class ExportStudentHook(Hook):
    """Write the student of each checkpoint into the folder ``student`` beside it.

    ``work_dirs/NAME/student/best_mIoU_epoch_90.pth`` is the student of
    ``work_dirs/NAME/best_mIoU_epoch_90.pth`` in the layout of its own config:
    ``mim test mmseg STUDENT_CONFIG --checkpoint THAT`` gives what the validation
    of the distillation gave. A file whose checkpoint CheckpointHook has removed
    is removed too.

    Args:
        folder (str): Its name. Defaults to 'student'.
        suffix (str): '.pth', or '.safetensors' for files that other programs read
            too; ``mim test`` takes both. Defaults to '.pth'.

    Raises:
        ValueError: For another suffix; when training starts, if there is no
            CheckpointHook.

    Example:
        >>> custom_hooks = [dict(type='mmrazor.ExportStudentHook')]
    """

    # after CheckpointHook, which is VERY_LOW
    priority = 'LOWEST'

    def __init__(self, folder: str = 'student', suffix: str = '.pth') -> None:
        if suffix not in SUFFIXES:
            raise ValueError(
                f'ExportStudentHook: suffix={suffix!r}; expected one of '
                f'{", ".join(SUFFIXES)}'
            )
        self.folder = folder
        self.suffix = suffix
        self._exported: dict[Path, int] = {}

    def before_train(self, runner: Runner) -> None:
        """Find the hook whose checkpoints are looked at."""
        found = [h for h in runner.hooks if isinstance(h, CheckpointHook)]
        if not found:
            raise ValueError(
                'ExportStudentHook exports what CheckpointHook writes, and there is '
                "none: set default_hooks.checkpoint to dict(type='CheckpointHook')"
            )
        self._checkpoint_hook = found[0]
        # what an earlier part of a resumed training has exported
        folder = Path(found[0].out_dir)
        for out in folder.joinpath(self.folder).glob(f'*{self.suffix}'):
            path = folder / f'{out.stem}.pth'
            if path.is_file() and out.stat().st_mtime_ns >= path.stat().st_mtime_ns:
                self._exported[path] = path.stat().st_mtime_ns

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Export what was written after this iteration."""
        self._export(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Export what was written after this epoch."""
        self._export(runner)

    def after_val_epoch(self, runner: Runner, metrics=None) -> None:
        """Export a new best one; not when only validation is run."""
        if hasattr(self, '_checkpoint_hook'):
            self._export(runner)

    @master_only
    def _export(self, runner: Runner) -> None:
        hook = self._checkpoint_hook
        written = {
            hook.last_ckpt,
            getattr(hook, 'best_ckpt_path', None),
            *getattr(hook, 'best_ckpt_path_dict', {}).values(),
        }
        for name in written - {None}:
            path = Path(name)
            if not path.is_file():
                continue
            stamp = path.stat().st_mtime_ns
            if self._exported.get(path) == stamp:
                continue
            out = export_student(path, self._out(path))
            self._exported[path] = stamp
            runner.logger.info(f'ExportStudentHook: the student alone is in {out}')
        for path in [p for p in self._exported if not p.is_file()]:
            self._out(path).unlink(missing_ok=True)
            del self._exported[path]

    def _out(self, path: Path) -> Path:
        return path.parent / self.folder / f'{path.stem}{self.suffix}'
