"""Pass ``norm_conv``."""

from torch import Tensor, nn

from .dataflow import Dataflow
from .layers import (
    batch_norm_affine,
    fold_before,
    is_batch_norm,
    is_convolution,
    replace,
)


def fold_norm_conv(network: nn.Module, example: Tensor) -> int:
    """Fold a norm's affine part into the unpadded convolutions that read it.

    ``W * (a x + b) + c = (W a) * x + (c + W b)``, with ``a`` along the input
    channels of W. A BatchNorm is nothing but ``a x + b`` and goes: those of
    EfficientFormerV2's outputs, which the decoder's 1x1 convolutions read. Of a
    GroupNorm the weight and bias go, and the normalisation stays: PoolFormer's,
    in front of each feed-forward and at the outputs.

    All readers must be convolutions without padding, whose border would else have
    0 where ``b`` belongs.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): An input for it.

    Returns:
        int: Norms folded.
    """
    flow = Dataflow(network, example)
    count = 0
    for norm in list(network.modules()):
        whole = is_batch_norm(norm)
        if not whole and not (isinstance(norm, nn.GroupNorm) and norm.affine):
            continue
        readers = flow.readers(norm)
        if not flow.runs_once(norm) or not readers:
            continue
        if not all(_is_unpadded(r) and flow.runs_once(r) for r in readers):
            continue
        scale, shift = batch_norm_affine(norm) if whole else (norm.weight, norm.bias)
        for conv in readers:
            fold_before(conv, scale, shift)
        if whole:
            replace(network, norm, nn.Identity())
        else:
            norm.weight = norm.bias = None
            norm.affine = False
        count += 1
    return count


def _is_unpadded(module):
    return is_convolution(module) and module.padding in ((0, 0), 'valid')
