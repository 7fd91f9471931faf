"""The feature loss of SEKD-CT."""

from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)


@MODELS.register_module()
class ContextAlignmentLoss(nn.Module):
    r"""Context alignment (CT) of SEKD, for the maps of one stage.

    With :math:`F` a map of C channels as a C x HW matrix, the teacher's at the
    student's size, and :math:`G` its Gram matrix :math:`F F^T`, which says what
    channels go together, each column divided by its L2 norm:

    .. math::

        L = \overline{(F_s - F_t)^2} + \overline{(G_s - G_t)^2}

    Both are means over all entries and the batch. SEKD averages over the four
    stages: give each pair a quarter of the weight.

    Args:
        loss_weight (float): Factor of the loss. Defaults to 1. SEKD-CT has 0.5,
            thus 0.125 for each of four stages.
        eps (float): The least norm that a column is divided by, so that a channel
            of zeros stays zero. Defaults to 1e-12.

    Raises:
        ValueError: ``eps`` is not above 0; at the forward pass, if the two have
            different numbers of images or channels.

    Example:
        >>> import torch
        >>> loss = ContextAlignmentLoss(loss_weight=0.125)
        >>> student = torch.rand(2, 64, 28, 28, requires_grad=True)
        >>> loss(student, torch.rand(2, 64, 56, 56)).shape
        torch.Size([])
    """

    def __init__(self, loss_weight: float = 1.0, eps: float = 1e-12):
        super().__init__()
        if eps <= 0:
            raise ValueError(f'eps must be above 0, got {eps}')
        self.loss_weight = loss_weight
        self.eps = eps

    def context(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, C), the Gram matrix with columns of norm 1."""
        flat = feature.flatten(2)
        return F.normalize(flat @ flat.mT, dim=1, eps=self.eps)

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
            loss = F.mse_loss(student, teacher)
            loss = loss + F.mse_loss(self.context(student), self.context(teacher))
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, eps={self.eps}'
