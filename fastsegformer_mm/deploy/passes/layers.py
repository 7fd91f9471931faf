"""What the passes do to single layers."""

import torch
from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import wrappers
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .pool_mixer import PoolMixer

# exactly these: a subclass may do anything to its weight in its forward
CONVOLUTIONS = (nn.Conv2d, wrappers.Conv2d)
TRANSPOSED = (nn.ConvTranspose2d, wrappers.ConvTranspose2d)
NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm)
NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)


def is_convolution(module) -> bool:
    """Whether it is a convolution whose weight may be changed."""
    return type(module) in CONVOLUTIONS and 'weight' in module._parameters


def is_batch_norm(module) -> bool:
    """Whether it is a BatchNorm with fixed statistics: an affine map a channel."""
    return (
        isinstance(module, _BatchNorm)
        and not module.training
        and module.running_mean is not None
    )


def batch_norm_affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Its scale and shift a channel, float64."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    return scale, shift


def fold_after(conv: nn.Module, scale: Tensor, shift: Tensor | None = None) -> None:
    """Make ``conv(x)`` put out ``scale * conv(x) + shift``.

    Args:
        conv (nn.Module): A convolution, or a transposed one of one group.
        scale (Tensor): ``[out_channels]``.
        shift (Tensor, optional): ``[out_channels]``. Defaults to None, 0.
    """
    weight = conv.weight
    shape = [1] * weight.dim()
    shape[1 if isinstance(conv, nn.ConvTranspose2d) else 0] = -1
    scale = scale.double()
    folded = (weight.double() * scale.view(shape)).to(weight.dtype)
    bias = shift
    if conv.bias is not None:
        bias = conv.bias.double() * scale + (0 if shift is None else shift.double())
    set_parameters(conv, folded, bias)


def fold_before(conv: nn.Conv2d, scale: Tensor, shift: Tensor | None = None) -> None:
    """Make ``conv(x)`` put out ``conv(scale * x + shift)``.

    Exact without padding: a padded zero would have become ``shift``.

    Args:
        conv (nn.Conv2d): A convolution.
        scale (Tensor): ``[in_channels]``.
        shift (Tensor, optional): ``[in_channels]``. Defaults to None, 0.
    """
    # [groups, out, in, height, width]
    weight = conv.weight.double().unflatten(0, (conv.groups, -1))
    by_group = (conv.groups, 1, -1, 1, 1)
    bias = None if conv.bias is None else conv.bias.double()
    if shift is not None:
        added = (weight * shift.double().view(by_group)).sum((2, 3, 4)).flatten()
        bias = added if bias is None else bias + added
    folded = (weight * scale.double().view(by_group)).flatten(0, 1)
    set_parameters(conv, folded.to(conv.weight.dtype), bias)


def set_parameters(module: nn.Module, weight: Tensor, bias: Tensor | None) -> None:
    """Give it a new weight and bias, in the weight's type."""
    module.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)
    module.bias = bias


def replace(network: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever ``old`` stands."""
    for parent in list(network.modules()):
        for name, child in list(parent._modules.items()):
            if child is not old:
                continue
            if (
                isinstance(new, nn.Identity)
                and isinstance(parent, ConvModule)
                and name == parent.norm_name
            ):
                # it asks its norm for more than a forward
                del parent._modules[name]
                parent.with_norm, parent.norm_name = False, None
            else:
                parent._modules[name] = new


def last_scalable(layers) -> nn.Module | None:
    """The last layer of a chain, if what it puts out can be scaled by parameters.

    Args:
        layers (Sequence[nn.Module]): One after the other; those that do nothing in
            evaluation mode are passed over.

    Returns:
        nn.Module | None: A convolution, a norm with a weight or a pool mixer.
    """
    last = next((m for m in reversed(layers) if not isinstance(m, NOTHING)), None)
    if is_convolution(last):
        return last
    if isinstance(last, (*NORMS, PoolMixer)) and last.weight is not None:
        return last
    return None


def scale_output(layer: nn.Module, scale: Tensor) -> None:
    """Multiply what a layer of :func:`last_scalable` puts out.

    Args:
        layer (nn.Module): It.
        scale (Tensor): A factor a channel.
    """
    if is_convolution(layer):
        fold_after(layer, scale)
    else:
        bias = None if layer.bias is None else layer.bias * scale
        set_parameters(layer, layer.weight * scale, bias)
