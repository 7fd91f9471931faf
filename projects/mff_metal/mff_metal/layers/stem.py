from mmcv.cnn import ConvModule
from torch import nn

from .norm_act import ACT_CFG, NORM_CFG, per_channel


class Stem(nn.Sequential):
    """Three 3x3 convolutions, each with normalisation and activation.

    Args:
        in_channels (int): Channels of the image.
        channels (int): Channels out.
        stride (int): Stride of the first one. Defaults to 1.
        dilation (int): Dilation of the second and third. Defaults to 1.
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation, PReLU with a slope a channel.

    Example:
        >>> import torch
        >>> Stem(3, 32, stride=2)(torch.rand(2, 3, 15, 16)).shape
        torch.Size([2, 32, 8, 8])
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: int = 1,
        dilation: int = 1,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ):
        layers = ((in_channels, stride, 1), (channels, 1, dilation))
        super().__init__(
            *(
                ConvModule(
                    width,
                    channels,
                    3,
                    stride=step,
                    padding=spread,
                    dilation=spread,
                    norm_cfg=norm_cfg,
                    act_cfg=per_channel(act_cfg, channels),
                )
                for width, step, spread in (*layers, layers[1])
            )
        )
