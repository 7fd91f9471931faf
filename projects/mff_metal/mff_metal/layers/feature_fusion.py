from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from .norm_act import ACT_CFG, NORM_CFG, per_channel


class PartitionChannelAttention(nn.Module):
    """Channel attention that sees where in the map a channel is strong.

    LMFFNet's partition-merging channel attention: the mean of the whole map plus a
    weighted sum of the means of its quarters, through squeeze and excitation.

    Args:
        channels (int): Channels in and out.
        reduction (int): Reduction of squeeze and excitation. Defaults to 8.

    Example:
        >>> attention = PartitionChannelAttention(90)
        >>> attention(torch.rand(2, 90, 7, 9)).shape
        torch.Size([2, 90, 7, 9])
    """

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        self.quarters = ConvModule(
            channels, channels, 2, groups=channels, bias=False, act_cfg=None
        )
        hidden = max(channels // reduction, 1)
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.PReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same."""
        quarters = self.quarters(F.adaptive_avg_pool2d(x, 2))
        weights = self.fc((quarters + F.adaptive_avg_pool2d(x, 1)).flatten(1))
        return x * weights[:, :, None, None]


class FeatureFusion(nn.Module):
    """Feature fusion: maps as they are beside maps with channel attention.

    All are concatenated, normalised, activated and mixed by a 1x1 convolution.

    Args:
        direct_channels (int): Channels of all maps that come as they are.
        attended_channels (int): Channels of all maps that get the attention.
        out_channels (int): Channels out.
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation, PReLU with a slope a channel.

    Example:
        >>> fusion = FeatureFusion(63, 90, 60)
        >>> maps = [torch.rand(2, c, 7, 9) for c in (60, 3, 60, 30)]
        >>> fusion(maps[:2], maps[2:]).shape
        torch.Size([2, 60, 7, 9])
    """

    def __init__(
        self,
        direct_channels: int,
        attended_channels: int,
        out_channels: int,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ):
        super().__init__()
        in_channels = direct_channels + attended_channels
        self.attention = PartitionChannelAttention(attended_channels)
        self.mix = ConvModule(
            in_channels,
            out_channels,
            1,
            norm_cfg=norm_cfg,
            act_cfg=per_channel(act_cfg, in_channels),
            order=('norm', 'act', 'conv'),
        )

    def forward(
        self,
        before: Sequence[Tensor],
        attended: Sequence[Tensor],
        after: Sequence[Tensor] = (),
    ) -> Tensor:
        """Maps of one size, in the order in which they are concatenated.

        Args:
            before (Sequence[Tensor]): Maps as they are, (N, ., H, W).
            attended (Sequence[Tensor]): Maps that get the attention, together.
            after (Sequence[Tensor]): More maps as they are. Defaults to none.

        Returns:
            Tensor: (N, out_channels, H, W).
        """
        attended = self.attention(torch.cat(list(attended), dim=1))
        return self.mix(torch.cat([*before, attended, *after], dim=1))
