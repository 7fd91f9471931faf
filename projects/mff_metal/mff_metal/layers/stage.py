from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from .norm_act import ACT_CFG, NORM_CFG, NormAct
from .split_extract_merge import SplitExtractMerge


def check_stages(channels: Sequence[int], dilations: Sequence) -> None:
    """See that a backbone's widths and its stages' dilations go together.

    Args:
        channels (Sequence[int]): Widths of the stem and of each stage.
        dilations (Sequence): Dilations, one entry a stage.

    Raises:
        ValueError: If they do not.
    """
    if len(dilations) != len(channels) - 1:
        raise ValueError(
            f'channels are {list(channels)}, and dilations have {len(dilations)} '
            'entries; expected one width for the stem, and for each stage one width '
            'and one entry of dilations'
        )


class Downsampling(nn.Module):
    """Halves a map by a strided convolution beside a max pool.

    The pooled map supplies as many channels as come in, the convolution the rest;
    where the map does not widen, the convolution supplies all of them.

    Args:
        in_channels (int): Channels in.
        out_channels (int): Channels out.
        kernel_size (int): Size of the convolution, 2 or 3. Defaults to 3.
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation, PReLU with a slope a channel.

    Raises:
        ValueError: If kernel_size is neither 2 nor 3.

    Example:
        >>> Downsampling(30, 60)(torch.rand(2, 30, 8, 9)).shape
        torch.Size([2, 60, 4, 5])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ):
        super().__init__()
        if kernel_size not in (2, 3):
            raise ValueError(f'kernel_size is {kernel_size}; expected 2 or 3')
        widens = out_channels > in_channels
        self.conv = ConvModule(
            in_channels,
            out_channels - in_channels if widens else out_channels,
            kernel_size,
            stride=2,
            padding=kernel_size - 2,
            bias=False,
            act_cfg=None,
        )
        self.pool = nn.MaxPool2d(2, stride=2) if widens else None
        self.norm_act = NormAct(out_channels, norm_cfg, act_cfg)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H/2, W/2), rounded up."""
        height, width = x.shape[2:]
        if height % 2 or width % 2:
            # an odd last row or column counts twice, lest it be lost
            x = F.pad(x, (0, width % 2, 0, height % 2), mode='replicate')
        parts = [self.conv(x)]
        if self.pool is not None:
            parts.append(self.pool(x))
        return self.norm_act(torch.cat(parts, dim=1))


class Stage(nn.Module):
    """A :class:`Downsampling` and the bottlenecks after it.

    Args:
        in_channels (int): Channels in.
        out_channels (int): Channels out.
        dilations (Sequence[Sequence[int]]): For each bottleneck, the dilations of its
            branches; see :class:`SplitExtractMerge`.
        kernel_size (int): As :class:`Downsampling`. Defaults to 3.
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation, PReLU with a slope a channel.

    Example:
        >>> stage = Stage(30, 60, dilations=[(1, 2, 3), (1, 2, 3)])
        >>> [tuple(x.shape) for x in stage(torch.rand(2, 30, 8, 8))]
        [(2, 60, 4, 4), (2, 60, 4, 4)]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[Sequence[int]],
        kernel_size: int = 3,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
    ):
        super().__init__()
        cfg = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.downsample = Downsampling(in_channels, out_channels, kernel_size, **cfg)
        self.blocks = nn.Sequential(
            *(SplitExtractMerge(out_channels, d, **cfg) for d in dilations)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The halved map, and what the bottlenecks make of it."""
        x = self.downsample(x)
        return x, self.blocks(x)
