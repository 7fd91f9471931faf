"""The boundary loss of MFF-Metal."""

from collections.abc import Sequence

from mmseg.registry import MODELS
from torch import Tensor, nn

from .class_terms import check_classes, pixel_weight, probabilities


@MODELS.register_module()
class MFFBoundaryLoss(nn.Module):
    r"""Probabilities times the signed distance to the label's boundary.

    `Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019
    <https://arxiv.org/abs/1812.07032>`_, as MFF-Metal uses it. A pixel costs more
    the farther outside the class it is predicted, and less than nothing inside,
    with :math:`\phi_c` the map of class c, negative inside:

    .. math::

        L = \frac{1}{N} \sum_n \sum_{c} \sum_i p_{nic} \, \phi_{nic}

    summed over the pixels (the paper's integral) and averaged over the N images, as
    in MFF-Metal's official code, where the maps are truncated to integers
    (``SignedDistanceMap(truncate=True)``). The value may be negative. Its gradient
    does not vanish where nothing is predicted, but the least value is reached by
    all-or-nothing answers too, so it goes beside a loss on regions. The name is not
    BoundaryLoss, which is PIDNet's in MMSegmentation.

    The maps come from ``SignedDistanceMap`` and ``PackDistanceMap`` in the training
    pipeline, through a head with the mixin ``BoundarySupervision``.

    Args:
        classes (Sequence[int] | None): The classes that count. Defaults to None,
            all but class 0, the background.
        loss_weight (float): Factor of the whole. Defaults to 1. MFF-Metal has 1e-4.
        loss_name (str): Name in the log. Defaults to ``'loss_boundary'``.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if a class
            is not among the logits' or the shapes do not fit.
        TypeError: At the forward pass, if there are no maps.

    Example:
        >>> import torch
        >>> loss = MFFBoundaryLoss()
        >>> logits = torch.zeros(1, 2, 1, 4)  # a probability of one half everywhere
        >>> label = torch.tensor([[[0, 0, 1, 1]]])
        >>> maps = torch.tensor([[[[0, -1, 1, 2]], [[2, 1, 0, -1]]]])
        >>> loss(logits, label, distance_map=maps).item()
        1.0
    """

    needs_distance_map = True

    def __init__(
        self,
        classes: Sequence[int] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_boundary',
    ):
        super().__init__()
        self.classes = check_classes(classes)
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        distance_map: Tensor | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            cls_score (Tensor): Logits, (N, C, H, W).
            label (Tensor): (N, H, W), int64; says which pixels are ignored.
            weight (Tensor | None): Of each pixel, (N, H, W).
            ignore_index (int): Label that counts for nothing. Defaults to 255.
            distance_map (Tensor): Signed distances in pixels, (N, C, H, W), of all
                classes, any type of number.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 logits).
        """
        if distance_map is None:
            raise TypeError(
                'MFFBoundaryLoss got no distance_map: its head must have the mixin '
                'BoundarySupervision, class MyHead(BoundarySupervision, FCNHead)'
            )
        if distance_map.shape != cls_score.shape:
            raise ValueError(
                f'distance maps of shape {tuple(distance_map.shape)} for logits of '
                f'shape {tuple(cls_score.shape)}: num_classes of SignedDistanceMap '
                'must be that of the head'
            )
        p, classes = probabilities(cls_score, label, self.classes)
        maps = distance_map[:, classes].to(p.dtype)
        maps = maps * pixel_weight(label, weight, ignore_index)
        loss = (p * maps).sum() / len(label)
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return f'classes={self.classes}, loss_weight={self.loss_weight}'
