"""Random weights under which an error of a pass shows."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def trained_like(network, seed=0):
    """Give a network statistics, affine parts and scales as training leaves them.

    Fresh ones hide every error: norms that do nothing, layer scales of 1e-5.

    Args:
        network (nn.Module): Changed in place.
        seed (int): Seed. Defaults to 0.

    Returns:
        nn.Module: The network, in evaluation mode.
    """
    generator = torch.Generator().manual_seed(seed)

    def between(tensor, low, high):
        tensor.data.uniform_(low, high, generator=generator)

    def around_zero(tensor, std):
        tensor.data.normal_(0, std, generator=generator)

    for module in network.modules():
        if isinstance(module, (_BatchNorm, nn.GroupNorm, nn.LayerNorm)):
            between(module.weight, 0.5, 1.5)
            around_zero(module.bias, 0.3)
        if isinstance(module, _BatchNorm):
            around_zero(module.running_mean, 0.3)
            between(module.running_var, 0.5, 1.5)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            around_zero(module.bias, 0.2)
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith('layer_scale'):
                between(parameter, 0.1, 1)
            if name == 'attention_biases':
                around_zero(parameter, 1)
    return network.eval()
