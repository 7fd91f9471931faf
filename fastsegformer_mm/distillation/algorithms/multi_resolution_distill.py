"""Distillation of a student that sees the batch smaller than its teacher."""

import traceback
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.model import BaseModel, ModuleDict
from mmrazor.models import SingleTeacherDistill
from mmrazor.registry import MODELS
from mmseg.models.utils import resize
from torch import Tensor

from fastsegformer_mm.distillation.errors import DistillationError

from .frozen_teacher import FrozenTeacher
from .pairs import (
    check_all_used,
    check_channels,
    check_sources,
    describe_pairs,
    explain_failure,
)


@MODELS.register_module()
class MultiResolutionDistill(SingleTeacherDistill):
    """Teach a student at one resolution by a teacher at another.

    The multi-resolution distillation of `FastSegFormer
    <https://doi.org/10.1016/j.compag.2023.108604>`_ (there KD2) on MMRazor's
    :class:`SingleTeacherDistill`, whose recorders, deliveries, connectors, losses
    and ``loss`` are used as they are::

        batch (N, 3, 512, 512) ----------------------> teacher: eval, no gradients
              |                                            | recorders
              +-> resized to 224x224 -> student -----------+-> distill losses
                                           |
        labels (N, 512, 512) --------------+-> the student's own losses

    The batch arrives at the teacher's size, prepared by the student's data
    preprocessor; a teacher with another one gets it renormalised. The student's
    own losses compare its logits, resized by its head, with the labels at full
    size. ``student_size=None`` gives both the same images (KD1).

    The teacher is no part of this module: it is not among its parameters or in
    its state dict, its whole network stays in eval mode, and neither its loss nor
    a gradient is ever computed. A checkpoint holds the student (under
    ``architecture.``) and the connectors. Testing and validation are the
    student's alone.

    Args:
        architecture (dict | str | BaseModel): The student, an MMSegmentation
            segmentor: its config, or the path of a config file, whose ``model`` is
            taken.
        teacher (dict | str | BaseModel): The teacher, one too, of the same classes.
        distiller (dict): MMRazor's ConfigurableDistiller.
        teacher_ckpt (str, optional): The teacher's checkpoint: a file, a URL or a
            pattern that one file matches. Read with ``weights_only=True`` when
            the training starts, by ``init_weights``.
        allow_random_teacher (bool): Permits a training without ``teacher_ckpt``,
            to try something out. Defaults to False.
        student_size (int | tuple[int, int], optional): What the batch is resized
            to for the student, (height, width) in pixels, bilinearly. Defaults to
            None, not at all.
        align_corners (bool): Of that resizing. Defaults to True, as the official
            code.
        teacher_precision (str, optional): 'float32', 'float16' or 'bfloat16', an
            autocast of the teacher's own. Defaults to None: that of the training.
        teacher_channels_last (bool): Run the teacher in this memory format.
            MMRazor's losses that view a map as a matrix (CWD) then need
            ResizeTeacherLoss around them. Defaults to False.
        fuse_teacher (bool): Fold the teacher's BatchNorms into the convolutions
            before them. Defaults to False.
        compile_teacher (bool | dict): ``torch.compile`` the teacher; a dict has
            the arguments. Defaults to False.
        compile_student (bool | dict): The same for the student. Defaults to
            False.
        batch_augment (dict, optional): ``CutMix`` or ``ClassMix``, which mixes the
            images of a batch and their labels before either network sees them.
            Defaults to None.
        data_preprocessor (dict, optional): Not used. Runner hands a config's
            top-level one over; the batch is prepared by the student's own.
        kwargs: Of :class:`SingleTeacherDistill`: ``calculate_student_loss``,
            ``init_cfg``, ``module_inplace``.

    Raises:
        DistillationError: The two have different numbers of classes, a recorder's
            source does not exist, a loss or connector has no part in the pairs, an
            argument is out of its range; when training
            starts, the teacher has no weights or they are incomplete; at the
            first batch, the two maps of a pair do not go together.
        TypeError: For ``teacher_trainable`` and its like, which contradict this
            class.

    Example:
        See configs/distill/ and docs/distillation.md.
    """

    def __init__(
        self,
        architecture: dict | str | BaseModel,
        teacher: dict | str | BaseModel,
        distiller: dict,
        teacher_ckpt: str | None = None,
        allow_random_teacher: bool = False,
        student_size: int | Sequence[int] | None = None,
        align_corners: bool = True,
        teacher_precision: str | None = None,
        teacher_channels_last: bool = False,
        fuse_teacher: bool = False,
        compile_teacher: bool | dict = False,
        compile_student: bool | dict = False,
        batch_augment: dict | None = None,
        data_preprocessor: dict | None = None,
        **kwargs,
    ):
        for name in ('teacher_trainable', 'teacher_norm_eval', 'student_trainable'):
            if name in kwargs:
                raise TypeError(
                    f'{name}={kwargs[name]!r}: the teacher of MultiResolutionDistill '
                    'is always frozen and the student always trained; '
                    'SingleTeacherDistill has this option'
                )
        architecture, teacher = _build(architecture), _build(teacher)
        if architecture.num_classes != teacher.num_classes:
            raise DistillationError(
                f'the teacher has {teacher.num_classes} classes and the student '
                f'{architecture.num_classes}: both must be trained for the same '
                'ones; set num_classes in the heads of both'
            )
        check_sources(distiller, student=architecture, teacher=teacher)
        check_all_used(distiller)
        super().__init__(
            distiller=distiller,
            teacher=teacher,
            architecture=architecture,
            teacher_norm_eval=False,
            **kwargs,
        )
        # in torch's own ModuleDict init_weights would not find them
        self.distiller.connectors = ModuleDict(self.distiller.connectors)
        # what MMRazor has registered as a submodule
        del self.teacher
        self.teacher = FrozenTeacher(
            teacher,
            self.data_preprocessor,
            precision=teacher_precision,
            channels_last=teacher_channels_last,
        )
        self.teacher_ckpt = teacher_ckpt
        self.allow_random_teacher = allow_random_teacher
        self.student_size = _pair(student_size)
        self.align_corners = align_corners
        self.fuse_teacher = fuse_teacher
        self.batch_augment = batch_augment and MODELS.build(batch_augment)
        # what DistillScheduleHook sets
        self.distill_factor = 1.0
        self._pairs_checked = False
        for network, options in (
            (teacher, compile_teacher),
            (architecture, compile_student),
        ):
            if options:
                network.compile(**(options if isinstance(options, dict) else {}))

    def set_module_inplace_false(self, architecture, varstr: str) -> None:
        """Clear ``inplace`` in every layer of a network.

        A layer that works in place would change a map that a recorder holds.
        MMRazor's own search stops at once since torch keeps submodules in plain
        dicts.
        """
        for module in architecture.modules():
            if hasattr(module, 'inplace'):
                module.inplace = False

    def init_weights(self) -> None:
        """Initialise student and connectors and load the teacher.

        Raises:
            DistillationError: ``teacher_ckpt`` is absent, cannot be read, or is
                not that of the teacher.
        """
        self.load_teacher()
        super().init_weights()

    def load_teacher(self) -> None:
        """Load ``teacher_ckpt``, once; see :meth:`init_weights`."""
        if self.teacher.loaded_from is not None:
            return
        if self.teacher_ckpt is not None:
            self.teacher.load(self.teacher_ckpt)
        elif not self.allow_random_teacher:
            raise DistillationError(
                'the teacher has no weights: set model.teacher_ckpt to its '
                'checkpoint (--cfg-options model.teacher_ckpt=FILE). To try a '
                'config with an untrained teacher, set '
                'model.allow_random_teacher=True'
            )
        else:
            self.teacher.loaded_from = ''
            print_log('Teacher: random weights, as allow_random_teacher', 'current')
        if self.fuse_teacher:
            self.teacher.fuse(self.distiller.teacher_recorders)

    def student_view(self, inputs: Tensor) -> Tensor:
        """(N, 3, H, W) as the student sees it, (N, 3, *student_size)."""
        if self.student_size in (None, tuple(inputs.shape[2:])):
            return inputs
        return resize(
            inputs,
            self.student_size,
            None,
            'bilinear',
            self.align_corners,
            warning=False,
        )

    def loss(self, batch_inputs: Tensor, data_samples: list | None = None) -> dict:
        """The student's own losses and those of the distillation.

        Args:
            batch_inputs (Tensor): (N, 3, H, W), at the teacher's size.
            data_samples (list[SegDataSample]): With labels at that size.

        Returns:
            dict[str, Tensor]: 'student.*' and 'distill.*'. Those of the
            distillation are multiplied by ``distill_factor``.

        Raises:
            DistillationError: See the class.
        """
        if not self.distillation_stopped and self.teacher.loaded_from is None:
            self.load_teacher()
        if self.batch_augment:
            # a control without a teacher mixes what the labels say
            predict = None if self.distillation_stopped else self.teacher.predict
            batch_inputs, data_samples = self.batch_augment(
                batch_inputs, data_samples, predict
            )
        student_inputs = self.student_view(batch_inputs)
        if self.distillation_stopped:
            return self._student_losses(student_inputs, data_samples)
        with self.teacher.seeing(batch_inputs, data_samples):
            if self._pairs_checked:
                losses = super().loss(student_inputs, data_samples)
            else:
                losses = self._first_loss(student_inputs, data_samples)
        self._forget_records()
        if self.distill_factor != 1:
            losses = {
                k: v * self.distill_factor if k.startswith('distill.') else v
                for k, v in losses.items()
            }
        return losses

    def _first_loss(self, inputs, data_samples):
        """The same, with a table of the pairs or the reason why one fails."""
        try:
            losses = super().loss(inputs, data_samples)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            # a forward pass that failed has left only some of the records
            compared = any(f.name == 'compute_distill_losses' for f in frames)
            reason = explain_failure(self.distiller) if compared else None
            if reason is None:
                raise
            raise DistillationError(reason) from error
        check_channels(self.distiller)
        print_log(f'Distillation:\n{describe_pairs(self.distiller)}', 'current')
        self._pairs_checked = True
        return losses

    def _student_losses(self, inputs, data_samples):
        """The student's losses after the distillation was stopped.

        DDP waits for a gradient of every parameter: connectors, and layers of the
        student that only the distillation used, get zero.
        """
        losses = self.student(inputs, data_samples, mode='loss')
        losses = {f'student.{k}': v for k, v in losses.items()}
        zero = sum(p.sum() for p in self.parameters() if p.requires_grad) * 0
        losses['distill.loss_stopped'] = zero
        return losses

    def _forget_records(self) -> None:
        """Let the maps go; recorders keep them until the next forward pass."""
        for recorders in (
            self.distiller.student_recorders,
            self.distiller.teacher_recorders,
        ):
            for recorder in recorders.recorders.values():
                recorder.reset_data_buffer()

    def train(self, mode: bool = True):
        """Set the student's and the connectors' mode, never the teacher's."""
        super().train(mode)
        return self

    def _apply(self, fn, recurse: bool = True):
        """Move the teacher along with this module."""
        super()._apply(fn, recurse)
        self.teacher.network._apply(fn, recurse)
        return self



def _build(network):
    if isinstance(network, str):
        try:
            config = Config.fromfile(network)
        except OSError as error:
            raise DistillationError(
                f'architecture or teacher {network!r} is no config file ({error}): '
                'give the path of one, from the folder where training is started or '
                "by '{{ fileDirname }}/...' from the config's own"
            ) from error
        network = {'_scope_': config.get('default_scope', 'mmseg'), **config.model}
    return network if isinstance(network, BaseModel) else MODELS.build(network)


def _pair(size):
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or not all(isinstance(s, int) and s > 0 for s in pair):
        raise DistillationError(
            f'student_size={size!r}: expected None, a number of pixels, or '
            '(height, width)'
        )
    return pair
