from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from .norm_act import ACT_CFG, NORM_CFG, NormAct, per_channel


class SplitExtractMerge(nn.Module):
    """Split-extract-merge bottleneck.

    .. code:: text

        x -> 3x3 to half -> split -+-> 3x3 depthwise, dilations[0] -+
        |                          +-> 3x3 depthwise, dilations[1] -+-> concatenate
        |                          +-> ...                         -+       |
        +-----> sum, norm, activation <- 1x1 to full <- 3x3 <---------------+

    From `LMFFNet: A Well-Balanced Lightweight Network for Fast and Accurate Semantic
    Segmentation <https://doi.org/10.1109/TNNLS.2022.3176493>`_, which has two
    branches; MFF-Metal has three. Every convolution is followed by normalisation and
    activation but the 1x1 one.

    Args:
        channels (int): Channels in and out, a multiple of twice the branches.
        dilations (Sequence[int]): Dilation of each branch. Defaults to (1, 2).
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation, PReLU with a slope a channel.

    Raises:
        ValueError: If half of the channels cannot be split evenly.

    Example:
        >>> block = SplitExtractMerge(60, dilations=(1, 2, 3))
        >>> block(torch.rand(2, 60, 7, 9)).shape
        torch.Size([2, 60, 7, 9])
    """

    def __init__(
        self,
        channels: int,
        dilations: Sequence[int] = (1, 2),
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ):
        super().__init__()
        count = len(dilations)
        if count == 0 or channels % (2 * count):
            raise ValueError(
                f'a stage has {channels} channels and dilations {tuple(dilations)}; '
                f'expected a multiple of {2 * count or 2} channels, half of which are '
                'split among as many branches as there are dilations'
            )
        half, part = channels // 2, channels // 2 // count
        self.conv = self._conv(channels, half, norm_cfg, act_cfg)
        self.branches = nn.ModuleList(
            self._conv(part, part, norm_cfg, act_cfg, dilation, groups=part)
            for dilation in dilations
        )
        self.merge = self._conv(half, half, norm_cfg, act_cfg)
        self.expand = ConvModule(half, channels, 1, bias=False, act_cfg=None)
        self.norm_act = NormAct(channels, norm_cfg, act_cfg)

    @staticmethod
    def _conv(in_channels, out_channels, norm_cfg, act_cfg, dilation=1, groups=1):
        return ConvModule(
            in_channels,
            out_channels,
            3,
            padding=dilation,
            dilation=dilation,
            groups=groups,
            norm_cfg=norm_cfg,
            act_cfg=per_channel(act_cfg, out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same."""
        parts = self.conv(x).chunk(len(self.branches), dim=1)
        parts = [branch(part) for branch, part in zip(self.branches, parts)]
        return self.norm_act(x + self.expand(self.merge(torch.cat(parts, dim=1))))
