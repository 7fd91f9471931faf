"""The loss on a decoder's last map, pixel by pixel."""

import torch
from mmrazor.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)


@MODELS.register_module()
class PixelWiseLoss(nn.Module):
    r"""Pixel-wise distillation of the decoder's last map before its ReLU.

    From `Knowledge Distillation in Semantic Segmentation
    <https://github.com/AmirMansurian/AICSD>`_, which gives it the weight 100. Its
    README has no formula, so that there are two, both a mean over all values, with
    the teacher's map at the student's size :math:`W \times H`:

    ``mode='paper'``, what the README's words say, the maps themselves:

    .. math::

        L = \frac{1}{C W H} \sum_{c,y,x} (s_{cyx} - t_{cyx})^2

    ``mode='code'``, the published code's, how strongly each pixel responds, as in
    `attention transfer <https://arxiv.org/abs/1612.03928>`_:

    .. math::

        L = \frac{1}{W H} \sum_{y,x} (q^s_{yx} - q^t_{yx})^2, \quad
        q_{yx} = \frac{e_{yx}}{\sqrt{\sum_{y'} e_{y'x}^2}}, \quad
        e_{yx} = \frac{1}{C} \sum_c f_{cyx}^2

    per image, averaged over the batch. As there, each column of the image is
    normalised by itself, over its height. It compares no channels, so that these
    may differ, and is the smaller: below :math:`2 / H`, where the other is about 2
    for two maps from BatchNorms that have nothing in common. The weight of 100
    belongs to it. Before the ReLU, since after it the pixels that a channel
    rejects are all alike.

    Args:
        loss_weight (float): Factor of the loss. Defaults to 1. Published: 100.
        mode (str): ``'paper'`` or ``'code'``, see above. Defaults to ``'paper'``.
        eps (float): Added, squared, to the sum under the root of ``mode='code'``:
            a column without any response is all zero. Defaults to 1e-6.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if the
            two have different numbers of images or, in ``mode='paper'``, of
            channels.

    Example:
        >>> loss = PixelWiseLoss(loss_weight=100, mode='code')
        >>> student = torch.rand(2, 8, 28, 28, requires_grad=True)
        >>> loss(student, torch.rand(2, 16, 56, 56)).shape
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

    def response(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, H, W), each column of length 1."""
        energy = feature.square().mean(1)
        length = (energy.square().sum(1, keepdim=True) + self.eps**2).sqrt()
        return energy / length

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            preds_S (Tensor): The student's map, (N, C, H, W).
            preds_T (Tensor): The teacher's map, (N, C, H', W'), in ``mode='code'``
                of any C. No gradient reaches it.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 maps).
        """
        with full_precision(preds_S, preds_T) as (student, teacher):
            if self.mode == 'paper':
                difference = student - to_student_size(student, teacher)
            else:
                teacher = to_student_size(student, teacher, None)
                difference = self.response(student) - self.response(teacher)
            return self.loss_weight * torch.mean(difference.square())

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, mode={self.mode!r}, eps={self.eps}'
