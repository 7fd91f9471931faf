"""What every loss on some of the classes' probabilities does before its formula."""

from collections.abc import Sequence

import torch
from torch import Tensor


def full_precision(logits: Tensor) -> Tensor:
    """The logits in float32, or float64 where they are float64.

    A sum over an image's pixels leaves float16's range. Of the operations on
    logits, none goes back to half precision under AMP.
    """
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def check_classes(classes: Sequence[int] | None) -> list[int] | None:
    """The classes of a config as a list.

    Raises:
        ValueError: If they are not different whole numbers from 0 on.
    """
    if classes is None:
        return None
    whole = all(isinstance(c, int) and c >= 0 for c in classes)
    if not whole or not classes or len(set(classes)) < len(classes):
        raise ValueError(
            f'classes={classes!r}, expected different class indices from 0 on, at '
            'least one; None takes all but class 0, the background'
        )
    return list(classes)


def probabilities(logits: Tensor, label: Tensor, classes: list[int] | None):
    """Probabilities of the selected classes.

    Args:
        logits (Tensor): (N, C, H, W), two classes or more.
        label (Tensor): (N, H, W).
        classes (list[int] | None): None: all but class 0.

    Returns:
        tuple[Tensor, list[int]]: (N, K, H, W), float32 at least, and the K classes.

    Raises:
        ValueError: If the shapes do not fit, or a class is not among the logits'.
    """
    n, channels, *size = logits.shape
    if tuple(label.shape) != (n, *size) or channels < 2:
        raise ValueError(
            f'logits of shape {tuple(logits.shape)} and label of shape '
            f'{tuple(label.shape)}: expected (N, C, H, W) with C >= 2 and (N, H, W). '
            'A binary task needs a head of two classes (num_classes=2, out_channels '
            'unset)'
        )
    classes = list(range(1, channels)) if classes is None else classes
    if max(classes) >= channels:
        raise ValueError(
            f'classes={classes} of the loss, but the logits have {channels} classes'
        )
    return full_precision(logits).softmax(1)[:, classes], classes


def pixel_weight(label: Tensor, weight: Tensor | None, ignore_index: int) -> Tensor:
    """1 a pixel, or its weight; 0 where the label is ignored.

    Args:
        label (Tensor): (N, H, W).
        weight (Tensor | None): (N, H, W), as the samplers of MMSegmentation give.
        ignore_index (int): The label of pixels that count for nothing.

    Returns:
        Tensor: (N, 1, H, W), to multiply maps of classes by.
    """
    valid = (label != ignore_index)[:, None]
    return valid if weight is None else valid * weight[:, None]
