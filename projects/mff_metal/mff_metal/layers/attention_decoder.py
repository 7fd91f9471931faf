from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmseg.models.utils import resize
from torch import Tensor, nn

from .norm_act import ACT_CFG, NORM_CFG, per_channel


class AttentionDecoder(nn.Module):
    """Class maps of a deep map, gated by what a shallow one adds.

    .. code:: text

        shallow -> 1x1 -------+-> separable convolution -> sigmoid -+
        deep -+--> 1x1 -> x2 -+                                     times
              +--> separable convolution -> x2 ---------------------+-> class maps

    LMFFNet's multiscale attention decoder. A separable convolution is a 3x3
    depthwise one with normalisation and activation and a bare 1x1 one to classes.

    Args:
        in_channels (Sequence[int]): Channels of the shallow and of the deep map.
        reduced_channels (Sequence[int]): Channels to which each is reduced for the
            attention.
        num_classes (int): Class maps.
        norm_cfg (dict): Config of the normalisation.
        act_cfg (dict): Config of the activation, PReLU with a slope a channel.
        align_corners (bool): How the deep maps are resized. Defaults to False.

    Raises:
        ValueError: If reduced_channels are not two.

    Example:
        >>> decoder = AttentionDecoder([131, 259], [16, 32], num_classes=4)
        >>> decoder(torch.rand(2, 131, 7, 9), torch.rand(2, 259, 4, 5)).shape
        torch.Size([2, 4, 7, 9])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        reduced_channels: Sequence[int],
        num_classes: int,
        norm_cfg: dict = NORM_CFG,
        act_cfg: dict = ACT_CFG,
        align_corners: bool = False,
    ):
        super().__init__()
        if len(reduced_channels) != 2:
            raise ValueError(
                f'reduced_channels are {list(reduced_channels)}; expected two, for the '
                'shallow and for the deep map'
            )
        self.align_corners = align_corners
        self.reduce_shallow, self.reduce_deep = (
            ConvModule(c, reduced, 1, bias=False, act_cfg=None)
            for c, reduced in zip(in_channels, reduced_channels)
        )
        self.attention, self.classify = (
            DepthwiseSeparableConvModule(
                c,
                num_classes,
                3,
                padding=1,
                dw_norm_cfg=norm_cfg,
                dw_act_cfg=per_channel(act_cfg, c),
                pw_act_cfg=None,
                bias=False,
            )
            for c in (sum(reduced_channels), in_channels[1])
        )

    def join(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """Both maps, reduced, concatenated at the size of the shallow one."""
        shallow, deep = self.reduce_shallow(shallow), self.reduce_deep(deep)
        return torch.cat([shallow, self._resize(deep, shallow)], dim=1)

    def gate(self, joint: Tensor, deep: Tensor) -> Tensor:
        """Class maps of the deep map times the attention of the joint one."""
        return (
            self._resize(self.classify(deep), joint) * self.attention(joint).sigmoid()
        )

    def forward(self, shallow: Tensor, deep: Tensor) -> Tensor:
        """(N, ., h, w), (N, ., h/2, w/2) -> (N, num_classes, h, w)."""
        return self.gate(self.join(shallow, deep), deep)

    def _resize(self, x, like):
        size = like.shape[2:]
        return resize(x, size, None, 'bilinear', self.align_corners, warning=False)
