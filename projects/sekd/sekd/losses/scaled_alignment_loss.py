"""The feature loss of plain SEKD."""

from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)


@MODELS.register_module()
class ScaledAlignmentLoss(nn.Module):
    """Feature alignment (FA) of SEKD at a quarter of the scale, for one stage.

    The mean squared difference of the two maps, both resized by ``scale``
    bilinearly (align_corners=False, no anti-aliasing). So at a quarter only the
    middle four pixels of each 4x4 block are compared, by their mean.

    SEKD averages over the four stages: give each pair a quarter of the weight.

    Args:
        scale (float): Of both sides, in (0, 1]; a side keeps one pixel at least.
            Defaults to 0.25.
        loss_weight (float): Factor of the loss. Defaults to 1. SEKD has 0.2, thus
            0.05 for each of four stages.

    Raises:
        ValueError: ``scale`` is out of its range; at the forward pass, if the two
            have different numbers of images or channels.

    Example:
        >>> import torch
        >>> loss = ScaledAlignmentLoss(loss_weight=0.05)
        >>> student = torch.rand(2, 64, 28, 28, requires_grad=True)
        >>> loss(student, torch.rand(2, 64, 56, 56)).shape
        torch.Size([])
    """

    def __init__(self, scale: float = 0.25, loss_weight: float = 1.0):
        super().__init__()
        if not 0 < scale <= 1:
            raise ValueError(f'scale must be in (0, 1], got {scale}')
        self.scale = scale
        self.loss_weight = loss_weight

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
            # resizing is linear: that of the difference is the difference
            difference = student - to_student_size(student, teacher)
            scale = tuple(max(self.scale, 1 / s) for s in difference.shape[2:])
            difference = F.interpolate(
                difference, scale_factor=scale, mode='bilinear', align_corners=False
            )
            loss = difference.square().mean()
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return f'scale={self.scale}, loss_weight={self.loss_weight}'
