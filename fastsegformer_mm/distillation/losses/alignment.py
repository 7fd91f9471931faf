"""What every loss on a pair of maps does before its formula."""

import contextlib

import torch
from mmseg.models.utils import resize
from torch import Tensor


@contextlib.contextmanager
def full_precision(student: Tensor, teacher: Tensor):
    """Give both maps in float32 at least, the teacher's detached, without AMP.

    Sums over a map's pixels leave float16's range, and bfloat16 has too few
    digits for a difference of two logits.

    Args:
        student (Tensor): Any floating type; gradients go back to it.
        teacher (Tensor): Any floating type.

    Yields:
        tuple[Tensor, Tensor]: Both as float32, or float64 where one of them is.
    """
    dtype = torch.promote_types(student.dtype, teacher.dtype)
    if dtype != torch.float64:
        dtype = torch.float32
    with torch.autocast(student.device.type, enabled=False):
        yield student.to(dtype), teacher.detach().to(dtype)


def to_student_size(
    student: Tensor, teacher: Tensor, what: str | None = 'channels'
) -> Tensor:
    """Resize the teacher's map bilinearly (align_corners=True) to the student's.

    Args:
        student (Tensor): (N, C, H, W).
        teacher (Tensor): (N, C', H', W').
        what (str, optional): The name of the second dimension, for the message.
            None permits different numbers of channels. Defaults to 'channels'.

    Returns:
        Tensor: (N, C', H, W).

    Raises:
        ValueError: If the two are not maps of as many images and, with ``what``,
            as many channels.
    """
    maps = student.dim() == teacher.dim() == 4
    if what is None and (not maps or len(student) != len(teacher)):
        raise ValueError(
            f'maps of student {tuple(student.shape)} and teacher '
            f'{tuple(teacher.shape)} cannot be compared: expected (N, C, H, W) '
            'with as many images; channels may differ'
        )
    if what is not None and (not maps or student.shape[:2] != teacher.shape[:2]):
        raise ValueError(
            f'maps of student {tuple(student.shape)} and teacher '
            f'{tuple(teacher.shape)} cannot be compared: expected (N, C, H, W) '
            f'with as many images and {what}. Where the channels differ, a '
            "connector on the student's side makes them equal, for example "
            "dict(type='ConvModuleConnector', in_channel=..., out_channel=..., "
            'act_cfg=None)'
        )
    if student.shape[2:] == teacher.shape[2:]:
        return teacher
    return resize(teacher, student.shape[2:], None, 'bilinear', True, warning=False)


def labels_to_size(labels: Tensor, student: Tensor) -> Tensor:
    """Take for each of the student's pixels the nearest label.

    On the grid of :func:`to_student_size`, corners aligned.

    Args:
        labels (Tensor): Classes, (N, H', W') or (N, 1, H', W').
        student (Tensor): (N, C, H, W).

    Returns:
        Tensor: (N, H, W).

    Raises:
        ValueError: If the labels are no maps of as many images.
    """
    if labels.dim() == 4 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() != 3 or len(labels) != len(student):
        raise ValueError(
            f'labels {tuple(labels.shape)} do not go with logits '
            f'{tuple(student.shape)}: expected ({len(student)}, height, width), the '
            "labels of these images. The student's own loss has them: record "
            "dict(type='ModuleInputs', source='decode_head.loss_decode') and take "
            'data_idx=1'
        )
    rows, columns = (
        torch.linspace(0, old - 1, new, device=labels.device).round().long()
        for old, new in zip(labels.shape[1:], student.shape[2:])
    )
    return labels[:, rows][:, :, columns]
