"""The Dice loss of MFF-Metal."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor, nn

from .class_terms import check_classes, pixel_weight, probabilities


@MODELS.register_module()
class MFFDiceLoss(nn.Module):
    r"""Dice loss on the scale of losses that are summed over an image's pixels.

    As in MFF-Metal's official training code: one Dice coefficient a class for the
    whole batch, so that a class which is on a few images only is not judged by the
    others; classes are summed, and each counts :math:`H W / N`. With probabilities
    :math:`p` and the label as one-hot maps :math:`y`:

    .. math::

        L = \frac{H W}{N} \sum_c \Big(1 -
            \frac{2 \sum_{ni} p_{nic} y_{nic} + s}
                 {\sum_{ni} (p_{nic} + y_{nic}) + s}\Big)

    MMSegmentation's ``DiceLoss`` takes one coefficient an image over all classes,
    squares the probabilities, and lies in [0, 1].

    Ignored pixels are left out of all sums (H W still counts them). A class that
    nobody labels and nobody predicts costs nothing.

    Args:
        classes (Sequence[int] | None): The classes that count. Defaults to None,
            all but class 0, the background.
        smooth (float): :math:`s`, > 0. Defaults to 1, as the official code.
        loss_weight (float): Factor of the whole. Defaults to 1. MFF-Metal has 0.5.
        loss_name (str): Name in the log. Defaults to ``'loss_dice'``.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if a class
            is not among the logits' or the shapes do not fit.

    Example:
        >>> import torch
        >>> loss = MFFDiceLoss(classes=[1])
        >>> logits = torch.tensor([0., 50.]).view(1, 2, 1, 1).expand(1, 2, 4, 4)
        >>> loss(logits, torch.ones(1, 4, 4, dtype=torch.long)).item()
        0.0
    """

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        smooth: float = 1.0,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dice',
    ):
        super().__init__()
        if smooth <= 0:
            raise ValueError(
                f'smooth={smooth}, expected above 0: a class that is absent would '
                'give 0 / 0'
            )
        self.classes = check_classes(classes)
        self.smooth = smooth
        self.loss_weight = loss_weight
        self.loss_name = loss_name

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
            weight (Tensor | None): Of each pixel in all sums, (N, H, W).
            ignore_index (int): Label that counts for nothing. Defaults to 255.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 logits).
        """
        p, classes = probabilities(cls_score, label, self.classes)
        w = pixel_weight(label, weight, ignore_index)
        y = label[:, None] == label.new_tensor(classes).view(1, -1, 1, 1)
        p = p * w
        overlap = (p * y).sum((0, 2, 3))
        total = (p + y * w).sum((0, 2, 3))
        dice = (2 * overlap + self.smooth) / (total + self.smooth)
        loss = (1 - dice).sum() * label[0].numel() / len(label)
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return (
            f'classes={self.classes}, smooth={self.smooth}, '
            f'loss_weight={self.loss_weight}'
        )
