"""Pass ``early_classifier``."""

from torch import Tensor, nn

from fastsegformer_mm.models.decode_heads.fastsegformer_head import FastSegFormerHead

from .layers import is_convolution


def classify_before_resize(network: nn.Module, example: Tensor) -> int:
    """Move the last 1x1 convolution in front of the bilinear up-sampling.

    A resized value is a mean of its neighbours, ``sum_i k_i x_i`` with ``sum_i k_i =
    1``; so ``W sum_i k_i x_i + c = sum_i k_i (W x_i + c)``: classifying first gives
    the same logits, from a quarter of the pixels, and there are fewer channels to
    resize. Heads whose branch ends in a 3x3 convolution at full size
    (``branch_refine_channels``) stay: that one does not commute.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): Not used; as in the other passes.

    Returns:
        int: Heads changed.
    """
    count = 0
    for head in network.modules():
        if (
            isinstance(head, FastSegFormerHead)
            and head.branch is not None
            and head.refine is None
            and is_convolution(head.conv_seg)
        ):
            # the fusion is the branch's last layer, and dropout is no more
            head.branch.fuse = nn.Sequential(head.branch.fuse, head.conv_seg)
            head.conv_seg = nn.Identity()
            count += 1
    return count
