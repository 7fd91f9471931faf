"""Cross entropy as a sum over an image's pixels."""

from mmseg.models.losses import CrossEntropyLoss
from mmseg.registry import MODELS
from torch import Tensor

from .class_terms import full_precision


@MODELS.register_module()
class SummedCrossEntropyLoss(CrossEntropyLoss):
    r"""Cross entropy, summed over the pixels and averaged over the images.

    The normaliser of MFF-Metal's official training code, whose other terms are
    sums too. For images of H x W pixels it is H W times the mean that
    MMSegmentation's ``CrossEntropyLoss`` gives by default:

    .. math::

        L = \frac{1}{N} \sum_n \sum_i w_{y_{ni}} \, (-\log p_{n i y_{ni}})

    Ignored pixels add nothing; the divisor is the number of images, N.

    Args:
        class_weight (list[float] | str | None): Weight :math:`w` of each class, or
            a file that holds them. Defaults to None, 1 for all.
        loss_weight (float): Factor of the whole. Defaults to 1.
        loss_name (str): Name in the log. Defaults to ``'loss_ce'``.

    Example:
        >>> import torch
        >>> loss = SummedCrossEntropyLoss()
        >>> label = torch.tensor([[[0, 255], [1, 3]]])
        >>> value = loss(torch.zeros(1, 4, 2, 2), label, ignore_index=255)
        >>> round(value.item(), 4)  # three pixels, ln 4 each
        4.1589
    """

    def __init__(
        self,
        class_weight: list[float] | str | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
    ):
        super().__init__(
            reduction='sum',
            class_weight=class_weight,
            loss_weight=loss_weight,
            loss_name=loss_name,
        )

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score (Tensor): Logits, (N, C, H, W).
            label (Tensor): (N, H, W), int64.
            weight (Tensor | None): Of each pixel, (N, H, W).
            ignore_index (int): Label that counts for nothing. Defaults to 255.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 logits).
        """
        logits = full_precision(cls_score)
        total = super().forward(logits, label, weight, ignore_index=ignore_index)
        return total / len(label)

    def extra_repr(self) -> str:
        return f'class_weight={self.class_weight}, loss_weight={self.loss_weight}'
