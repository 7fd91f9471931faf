"""Whether this is the teacher that the training needs."""

import copy
import itertools

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmrazor.registry import HOOKS

from fastsegformer_mm.distillation.algorithms.frozen_teacher import (
    find_one,
    load_segmentor,
)
from fastsegformer_mm.distillation.algorithms.pairs import try_pairs
from fastsegformer_mm.distillation.errors import DistillationError
from fastsegformer_mm.distillation.image_size import image_size


@HOOKS.register_module()
class CheckTeacherHook(Hook):
    """Before training, compare the teacher's classes with the data set's, score it.

    A teacher that was trained for the same classes in another order teaches
    nonsense without any error; its checkpoint names them. Where the training pipeline
    tells the size of the images, every pair of maps is compared once at that size.

    A teacher that is no better than what the student reaches alone takes away. With
    ``student`` both are compared on the same validation images.

    Args:
        num_batches (int, optional): Validation batches to score on; 0 does not, -1
            takes all. Defaults to None: -1 with ``student``, 0 without.
        pipeline (list[dict], optional): The data pipeline of these batches for the
            teacher, where it is another than the student's. Defaults to None: that of
            ``val_dataloader``, from which the images come.
        student (str | float, optional): What the student reaches alone: its
            checkpoint (a file, a URL or a pattern that one file matches), of its own
            training or of an earlier distillation, which is scored with the
            student's network and ``val_dataloader``; or the figure itself, in percent.
            Defaults to None, no comparison.
        margin (float): Points by which the teacher must be better. Defaults to 2.
        metric (str): The figure of ``val_evaluator`` that is compared; higher is
            better. Defaults to 'mIoU'.
        stop (bool): Whether a teacher that is not better by the margin is an error,
            or a warning. Defaults to True.

    Raises:
        ValueError: ``student`` with ``num_batches=0``.
        DistillationError: When training starts: the classes differ, the maps of a
            pair do not go together, the model has no teacher, there are no
            validation images to score it on, the student's checkpoint is not that of
            the student, or, with ``stop``, the teacher is not better by the margin.

    Example:
        >>> custom_hooks = [
        ...     dict(type='mmrazor.CheckTeacherHook',
        ...          student='work_dirs/student_alone/best_mIoU_*.pth')]
    """

    def __init__(
        self,
        num_batches: int | None = None,
        pipeline: list[dict] | None = None,
        student: str | float | None = None,
        margin: float = 2.0,
        metric: str = 'mIoU',
        stop: bool = True,
    ) -> None:
        if num_batches is None:
            num_batches = 0 if student is None else -1
        if student is not None and not num_batches:
            raise ValueError(
                f'student={student!r} is compared with the score of the teacher, and '
                'num_batches=0 scores none: leave it out, or give the number of '
                'validation batches'
            )
        self.num_batches = num_batches
        self.pipeline = pipeline
        self.student = student
        self.margin = margin
        self.metric = metric
        self.stop = stop

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
        if not self.num_batches:
            return
        teacher = self._score(runner, model.teacher.network, 'Teacher', self.pipeline)
        if self.student is not None:
            self._compare_scores(runner, teacher, self._score_student(runner, model))

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
    def _score(self, runner, network, name, pipeline=None):
        cfg = copy.deepcopy(runner.cfg.val_dataloader)
        if pipeline is not None:
            cfg.dataset.pipeline = pipeline
        # once, and no process is to stay for it
        cfg.update(num_workers=0, persistent_workers=False)
        dataloader = runner.build_dataloader(cfg)
        evaluator = runner.build_evaluator(copy.deepcopy(runner.cfg.val_evaluator))
        evaluator.dataset_meta = dataloader.dataset.metainfo
        batches = None if self.num_batches < 0 else self.num_batches
        images = 0
        for batch in itertools.islice(dataloader, batches):
            outputs = network.test_step(batch)
            images += len(outputs)
            evaluator.process(data_samples=outputs, data_batch=batch)
        size = min(images * runner.world_size, len(dataloader.dataset))
        metrics = evaluator.evaluate(size)
        figures = ', '.join(f'{k} {v:.2f}' for k, v in metrics.items())
        runner.logger.info(f'{name} on {size} validation images: {figures}')
        return metrics

    def _score_student(self, runner, model):
        """The figure of the student alone; its weights are put back afterwards."""
        if not isinstance(self.student, str):
            return float(self.student)
        path = find_one(
            self.student,
            'student',
            'Train the student alone first, name its checkpoint, or give what it '
            'reaches as a number',
        )
        student, training = model.student, model.training
        weights = {k: v.clone() for k, v in student.state_dict().items()}
        try:
            load_segmentor(student.eval(), path)
            metrics = self._score(runner, student, 'Student alone')
        except (ValueError, OSError) as error:
            raise DistillationError(
                f'CheckTeacherHook: the student was not scored: {error}'
            ) from error
        finally:
            student.load_state_dict(weights)
            model.train(training)
        return self._figure(metrics)

    def _figure(self, metrics):
        if self.metric not in metrics:
            raise DistillationError(
                f'CheckTeacherHook: metric={self.metric!r} is none of val_evaluator; '
                f'there are {", ".join(metrics)}'
            )
        return metrics[self.metric]

    def _compare_scores(self, runner, teacher, student):
        teacher = self._figure(teacher)
        gain = teacher - student
        text = (
            f'the teacher reaches {self.metric} {teacher:.2f} and the student alone '
            f'{student:.2f}: {gain:+.2f} points'
        )
        if gain >= self.margin:
            runner.logger.info(f'CheckTeacherHook: {text}')
            return
        text += (
            f', less than margin={self.margin}. A teacher that is hardly better takes '
            'away: give another one (model.teacher_ckpt; trained for longer, on '
            'more images, at a higher resolution, or a network that learns faster '
            'from few labels), or a smaller margin'
        )
        if self.stop:
            raise DistillationError(
                f'{text}; stop=False of CheckTeacherHook trains all the same'
            )
        runner.logger.warning(f'CheckTeacherHook: {text}')
