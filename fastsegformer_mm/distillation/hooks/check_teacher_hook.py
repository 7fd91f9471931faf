"""Whether this is the teacher that the training needs."""

import copy
import itertools

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from fastsegformer_mm.distillation.algorithms.pairs import try_pairs
from fastsegformer_mm.distillation.errors import DistillationError
from fastsegformer_mm.distillation.image_size import image_size


@HOOKS.register_module()
class CheckTeacherHook(Hook):
    """Before training, compare the teacher's classes with the data set's, score it.

    A teacher that was trained for the same classes in another order teaches
    nonsense without any error; its checkpoint names them. Where the training pipeline
    tells the size of the images, every pair of maps is compared once at that size.

    Args:
        num_batches (int): Validation batches to score the teacher on; 0 does not,
            -1 takes all. Defaults to 0.
        pipeline (list[dict], optional): The data pipeline of these batches, where
            the teacher's is another than the student's. Defaults to None: that of
            ``val_dataloader``, from which the images come.

    Raises:
        DistillationError: When training starts: the classes differ, the maps of a
            pair do not go together, the model has no teacher, or there are no
            validation images to score it on.

    Example:
        >>> custom_hooks = [
        ...     dict(type='mmrazor.CheckTeacherHook', num_batches=50)]
    """

    def __init__(
        self,
        num_batches: int = 0,
        pipeline: list[dict] | None = None,
    ) -> None:
        self.num_batches = num_batches
        self.pipeline = pipeline

    def before_train(self, runner: Runner) -> None:
        """Compare, then score."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'teacher'):
            raise DistillationError(
                f'CheckTeacherHook: {type(model).__name__} has no teacher, it is no '
                'MultiResolutionDistill; take the hook out of custom_hooks'
            )
        if self.num_batches and not runner.cfg.get('val_dataloader'):
            raise DistillationError(
                f'CheckTeacherHook: num_batches={self.num_batches} scores the teacher '
                'on validation images, and there is no val_dataloader; set '
                'num_batches=0, or one with its val_evaluator'
            )
        self._compare(runner, model.teacher)
        # the parameters of a sharded model are not whole
        if not type(runner.model).__name__.endswith('FullyShardedDataParallel'):
            self._try_pairs(runner, model)
        if self.num_batches:
            self._score(runner, model.teacher)

    def _try_pairs(self, runner, model):
        try:
            size = image_size(runner.cfg)
        except ValueError:
            return  # left to the first step
        try_pairs(model, size)

    def _compare(self, runner, teacher):
        classes = runner.train_dataloader.dataset.metainfo.get('classes')
        if not classes or not teacher.loaded_from:
            return
        if not teacher.classes:
            runner.logger.info(
                f'CheckTeacherHook: {teacher.loaded_from} does not name its classes; '
                f'they are taken to be {", ".join(classes)}'
            )
        elif list(teacher.classes) != list(classes):
            raise DistillationError(
                f'the teacher {teacher.loaded_from} was trained for the classes '
                f'{", ".join(teacher.classes)}; the data set has '
                f'{", ".join(classes)}. They must be the same, in one order: train '
                "the teacher on this data set, or set the dataset's metainfo to the "
                "teacher's order and convert the labels"
            )

    @torch.no_grad()
    def _score(self, runner, teacher):
        cfg = copy.deepcopy(runner.cfg.val_dataloader)
        if self.pipeline is not None:
            cfg.dataset.pipeline = self.pipeline
        # once, and no process is to stay for it
        cfg.update(num_workers=0, persistent_workers=False)
        dataloader = runner.build_dataloader(cfg)
        evaluator = runner.build_evaluator(copy.deepcopy(runner.cfg.val_evaluator))
        evaluator.dataset_meta = dataloader.dataset.metainfo
        batches = None if self.num_batches < 0 else self.num_batches
        images = 0
        for batch in itertools.islice(dataloader, batches):
            outputs = teacher.network.test_step(batch)
            images += len(outputs)
            evaluator.process(data_samples=outputs, data_batch=batch)
        size = min(images * runner.world_size, len(dataloader.dataset))
        metrics = evaluator.evaluate(size)
        figures = ', '.join(f'{k} {v:.2f}' for k, v in metrics.items())
        runner.logger.info(f'Teacher on {size} validation images: {figures}')
