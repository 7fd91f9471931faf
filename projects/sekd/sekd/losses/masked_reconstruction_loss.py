"""The feature loss of SEKD-SU."""

from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)
from sekd.random_window import check_ratio, hide_window


@MODELS.register_module()
class MaskedReconstructionLoss(nn.Module):
    """Self-supervised reconstruction (SU) of SEKD, for the maps of one stage.

    The mean squared difference between the teacher's map and the student's, in
    which a window at a random place is zero. It draws from torch's generator of
    the CPU: see :func:`sekd.random_window.hide_window`.

    The student gets no gradient inside the window, whose part of the loss is the
    teacher's alone. To have the network fill the window instead, hide it before the
    adapter (``SEKDAdapter(mask_ratio=0.3)``) and give this loss ``mask_ratio=0``.

    SEKD averages over the four stages: give each pair a quarter of the weight. Each
    stage draws its own window.

    Args:
        mask_ratio (float): The window's height and width, as a share of the map's.
            0 hides nothing. Defaults to 0.3.
        per_sample (bool): A window for each image, and not one for the batch.
            Defaults to False.
        loss_weight (float): Factor of the loss. Defaults to 1. SEKD-SU has 0.5,
            thus 0.125 for each of four stages.

    Raises:
        ValueError: ``mask_ratio`` is not in [0, 1]; at the forward pass, if the two
            have different numbers of images or channels.

    Example:
        >>> import torch
        >>> loss = MaskedReconstructionLoss(loss_weight=0.125)
        >>> ones = torch.ones(2, 64, 10, 20)
        >>> loss(ones, ones)  # the window is 9 % of the map
        tensor(0.0113)
    """

    def __init__(
        self,
        mask_ratio: float = 0.3,
        per_sample: bool = False,
        loss_weight: float = 1.0,
    ):
        super().__init__()
        check_ratio(mask_ratio)
        self.mask_ratio = mask_ratio
        self.per_sample = per_sample
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
            teacher = to_student_size(student, teacher)
            student = hide_window(student, self.mask_ratio, self.per_sample)
            loss = F.mse_loss(student, teacher)
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return (
            f'mask_ratio={self.mask_ratio}, per_sample={self.per_sample}, '
            f'loss_weight={self.loss_weight}'
        )
