from collections import OrderedDict

from mmcv.cnn.bricks import build_activation_layer, build_norm_layer
from torch import nn

NORM_CFG = {'type': 'BN', 'eps': 1e-3}
ACT_CFG = {'type': 'PReLU'}


def per_channel(act_cfg: dict, channels: int) -> dict:
    """Config of an activation whose PReLU has one slope for each channel.

    MMCV's has a single one for all, unless it is told how many channels come.

    Args:
        act_cfg (dict): Config of the activation. One that is no PReLU, or that has
            its own ``num_parameters``, stays as it is.
        channels (int): Channels of the map that is activated.

    Returns:
        dict: The config, with ``num_parameters``.

    Example:
        >>> per_channel(dict(type='PReLU'), 30)
        {'num_parameters': 30, 'type': 'PReLU'}
        >>> per_channel(dict(type='ReLU'), 30)
        {'type': 'ReLU'}
    """
    if act_cfg['type'] != 'PReLU':
        return act_cfg
    return {'num_parameters': channels, **act_cfg}


class NormAct(nn.Sequential):
    """Normalisation and activation of a sum or a concatenation.

    Args:
        channels (int): Channels.
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation; see :func:`per_channel`.

    Example:
        >>> import torch
        >>> module = NormAct(30, NORM_CFG, ACT_CFG)
        >>> module(torch.rand(2, 30, 7, 9)).shape
        torch.Size([2, 30, 7, 9])
        >>> sorted(name for name, _ in module.named_parameters())
        ['activate.weight', 'norm.bias', 'norm.weight']
    """

    def __init__(self, channels: int, norm_cfg: dict, act_cfg: dict):
        super().__init__(
            OrderedDict(
                norm=build_norm_layer(norm_cfg, channels)[1],
                activate=build_activation_layer(per_channel(act_cfg, channels)),
            )
        )
