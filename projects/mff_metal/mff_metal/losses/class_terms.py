"""What every loss on some of the classes' probabilities does before its formula."""

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor


@contextlib.contextmanager
def full_precision(logits: Tensor):
    """Give the logits in float32 at least, without AMP.

    A sum over an image's pixels leaves float16's range.

    Args:
        logits (Tensor): Any floating type; gradients go back to it.

    Yields:
        Tensor: As float32, or float64 where it is float64.
    """
    with torch.autocast(logits.device.type, enabled=False):
        yield logits if logits.dtype == torch.float64 else logits.float()


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
        tuple[Tensor, list[int]]: (N, K, H, W), and the K classes.

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
    return logits.softmax(1)[:, classes], classes


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
