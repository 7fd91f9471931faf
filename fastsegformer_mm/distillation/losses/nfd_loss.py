"""The loss on normalised features of FastSegFormer."""

import torch
from mmrazor.registry import MODELS
from torch import Tensor, nn

from .alignment import full_precision, to_student_size


@MODELS.register_module()
class NFDLoss(nn.Module):
    r"""Normalised feature distillation (NFD), for one pair of feature maps.

    From `FastSegFormer <https://doi.org/10.1016/j.compag.2023.108604>`_, after
    `Normalized Feature Distillation for Semantic Segmentation
    <https://arxiv.org/abs/2207.05256>`_. With the teacher's map at the
    student's size :math:`W \times H`:

    .. math::

        L = \frac{1}{W H} \big\| Normal(F_t) - Normal(F_s) \big\|_2

    per image, averaged over the batch. :math:`Normal` subtracts the mean of
    each channel over H and W and divides by its unbiased standard deviation, so
    that only the pattern counts and not the magnitude, in which student and
    teacher differ.

    Args:
        loss_weight (float): Factor of the loss. Defaults to 1. The paper has 5.
        mode (str): ``'paper'``, the formula, or ``'code'``, what the official
            training code computes for a pair: no normalisation, and one norm
            over the whole batch. Defaults to ``'paper'``.
        eps (float): Added to the variance of a channel, whose square root is
            then the divisor: a constant channel becomes all zero, and the
            gradient of one that is nearly constant is at most ``eps ** -0.5``
            times as large. Defaults to 1e-6.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if the
            two have different numbers of images or channels, or, in
            ``mode='paper'``, if one of them has a single pixel, whose deviation is
            not defined.

    Example:
        >>> loss = NFDLoss(loss_weight=5)
        >>> student = torch.rand(2, 8, 28, 28, requires_grad=True)
        >>> loss(student, torch.rand(2, 8, 64, 64)).shape
        torch.Size([])
    """

    def __init__(
        self, loss_weight: float = 1.0, mode: str = 'paper', eps: float = 1e-6
    ):
        super().__init__()
        if mode not in ('paper', 'code'):
            raise ValueError(f"mode must be 'paper' or 'code', got {mode!r}")
        if eps <= 0:
            raise ValueError(f'eps must be above 0, got {eps}')
        self.loss_weight = loss_weight
        self.mode = mode
        self.eps = eps

    def normal(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> each channel of each image with mean 0, deviation 1."""
        var, mean = torch.var_mean(feature, (2, 3), correction=1, keepdim=True)
        return (feature - mean) * (var + self.eps).rsqrt()

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            preds_S (Tensor): The student's map, (N, C, H, W), raised to the
                teacher's channels by a connector.
            preds_T (Tensor): The teacher's map, (N, C, H', W'). No gradient
                reaches it.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 maps).
        """
        with full_precision(preds_S, preds_T) as (student, teacher):
            single = preds_T.shape[2:].numel() < 2
            teacher = to_student_size(student, teacher, 'channels')
            pixels = student[0, 0].numel()
            if self.mode == 'paper':
                if pixels < 2 or single:
                    raise ValueError(
                        'NFDLoss normalises each channel over its pixels, and the '
                        f"{'student' if pixels < 2 else 'teacher'}'s map has a single "
                        'one: take a map of a lower stride, or larger images'
                    )
                difference = self.normal(teacher) - self.normal(student)
                norm = torch.linalg.vector_norm(difference.flatten(1), dim=1).mean()
            else:
                norm = torch.linalg.vector_norm(teacher - student)
        return self.loss_weight * norm / pixels

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, mode={self.mode!r}, eps={self.eps}'
