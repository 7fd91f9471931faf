"""A confusion matrix of pixels, and the figures of its classes."""

from collections.abc import Sequence

import numpy as np
import torch


def confusion_matrix(
    pred_label: torch.Tensor,
    label: torch.Tensor,
    classes: Sequence[str],
    ignore_index: int,
) -> torch.Tensor:
    """Count the pairs of label and predicted class of one image.

    Args:
        pred_label (torch.Tensor): Predicted classes of shape (H, W).
        label (torch.Tensor): Labels of shape (H, W).
        classes (Sequence[str]): Names of the C classes.
        ignore_index (int): Label value that is left out.

    Returns:
        torch.Tensor: int64 of shape (C, C) on the CPU, rows label, columns
        prediction.

    Raises:
        ValueError: The sizes differ, or a value is no class.

    Example:
        >>> pred, label = torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 255]])
        >>> confusion_matrix(pred, label, ('background', 'scratch'), 255).tolist()
        [[1, 1], [0, 0]]
    """
    if pred_label.shape != label.shape:
        raise ValueError(
            f'the prediction is {tuple(pred_label.shape)} and the label map '
            f'{tuple(label.shape)} pixels (height, width); they must agree: '
            'put LoadAnnotations after the resize in the test pipeline'
        )
    valid = label != ignore_index
    label, pred_label = label[valid].long(), pred_label[valid].long()
    num_classes = len(classes)
    for holder, values, way_out in (
        (
            'label map',
            label,
            f'or ignore_index={ignore_index}; give the masks class indices '
            '(tools/dataset_converters/color_masks_to_index.py) or set ignore_index',
        ),
        (
            'prediction',
            pred_label,
            'only; set num_classes of the decode head to the number of classes of the '
            'data set',
        ),
    ):
        outside = values[(values < 0) | (values >= num_classes)]
        if len(outside):
            found, counts = outside.unique(return_counts=True)
            shown = ', '.join(
                f'{value} ({count} pixels)'
                for value, count in zip(found.tolist()[:5], counts.tolist())
            )
            raise ValueError(
                f'the {holder} holds the value {shown}, expected 0 to '
                f'{num_classes - 1} ({", ".join(classes)}) {way_out}'
            )
    pairs = num_classes * label + pred_label
    counts = torch.bincount(pairs, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).cpu()


def class_figures(
    matrix: np.ndarray, metrics: Sequence[str] = (), beta: float = 1
) -> dict[str, np.ndarray]:
    """The figures of every class as fractions, nan where undefined.

    Args:
        matrix (np.ndarray): Pixel counts of shape (C, C), rows label, columns
            prediction.
        metrics (Sequence[str]): ``'mDice'`` and ``'mFscore'`` where wanted.
        beta (float): Weight of recall in the F-score.

    Returns:
        dict[str, np.ndarray]: 'IoU', 'PA/Recall', 'Precision' and, where wanted,
        'Dice' and 'Fscore', of shape (C,) each.
    """
    hit = np.diag(matrix)
    label, pred = matrix.sum(axis=1), matrix.sum(axis=0)
    figures = {
        'IoU': divide(hit, label + pred - hit),
        'PA/Recall': divide(hit, label),
        'Precision': divide(hit, pred),
    }
    if 'mDice' in metrics:
        figures['Dice'] = divide(2 * hit, label + pred)
    if 'mFscore' in metrics:
        # from the counts and not from precision and recall: a class that is
        # always missed scores 0 here and not nan
        beta2 = beta**2
        figures['Fscore'] = divide((1 + beta2) * hit, beta2 * label + pred)
    return figures


def divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide class by class, giving nan where the denominator is 0."""
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
