"""Pass ``conv_bn``."""

from mmcv.cnn import ConvModule
from torch import Tensor, nn

from .dataflow import Dataflow
from .layers import (
    TRANSPOSED,
    batch_norm_affine,
    fold_after,
    is_batch_norm,
    is_convolution,
    replace,
)


def fold_conv_bn(network: nn.Module, example: Tensor) -> int:
    """Fold each BatchNorm into the convolution that it alone reads.

    With fixed statistics a BatchNorm is ``y = a x + b``, ``a = weight / sqrt(var +
    eps)`` and ``b = bias - a mean``, a channel at a time; of a convolution ``x = W *
    u + c`` it makes ``(a W) * u + (a c + b)``, another convolution. Strides, groups,
    padding of any kind are as before, as all of them come earlier.

    Found by what reads what, not by names: pairs in a ConvModule, in a Sequential
    or only in somebody's ``forward`` are all the same. A convolution that anything
    else reads too, or that runs twice, stays.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): An input for it.

    Returns:
        int: BatchNorms folded.
    """
    for module in network.modules():
        if isinstance(module, ConvModule):
            # its own folding, anew at each run, hides the norm
            module.turn_on_efficient_conv_bn_eval(False)
    flow = Dataflow(network, example)
    count = 0
    for conv in list(network.modules()):
        transposed = type(conv) in TRANSPOSED and conv.groups == 1
        if not (is_convolution(conv) or transposed):
            continue
        norm = flow.only_reader(conv)
        if is_batch_norm(norm) and flow.runs_once(norm):
            fold_after(conv, *batch_norm_affine(norm))
            replace(network, norm, nn.Identity())
            count += 1
    return count
