import torch
from mmcv.cnn import ConvModule
from torch import Tensor, nn


class MultiScalePyramid(nn.Module):
    """Multi-scale pyramid (MSP) of FastSegFormer.

    Where the pooling pyramid of PSPNet looks at several grids of averages, this
    one looks through several windows at full resolution: parallel convolutions
    of different kernel sizes, each followed by a 1x1 convolution, concatenated
    with the input and mixed by a 1x1 convolution.

    .. code:: text

              +-> 1x1 -> 1x1 --+
              +-> 3x3 -> 1x1 --+
        x ----+-> 5x5 -> 1x1 --+-> concat -> 1x1 -> out
              +-> 7x7 -> 1x1 --+
              +----------------+

    From `FastSegFormer: A knowledge distillation-based method for real-time
    semantic segmentation of surface defects in navel oranges
    <https://doi.org/10.1016/j.compag.2023.108604>`_.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        kernel_sizes (Sequence[int]): Odd kernel sizes, one a branch; a branch is
            ``in_channels // len(kernel_sizes)`` wide. Defaults to (1, 3, 5, 7).
        conv_cfg (dict, optional): Config of the convolutions. Defaults to None,
            which is ``Conv2d``.
        norm_cfg (dict, optional): Config of the normalisation after every
            convolution. Defaults to None, which is none.
        act_cfg (dict, optional): Config of the activation after every
            convolution. Defaults to None, which is none.

    Raises:
        ValueError: If a kernel size is even: it cannot keep the map's size.

    Example:
        >>> import torch
        >>> pyramid = MultiScalePyramid(160, 320, norm_cfg=dict(type='BN'))
        >>> pyramid(torch.rand(2, 160, 7, 9)).shape
        torch.Size([2, 320, 7, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_sizes=(1, 3, 5, 7),
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
    ):
        super().__init__()
        even = [k for k in kernel_sizes if k % 2 == 0]
        if even:
            raise ValueError(
                f'kernel_sizes must be odd to keep the size of the map, got {even} '
                f'in {tuple(kernel_sizes)}'
            )
        cfg = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        width = in_channels // len(kernel_sizes)
        self.branches = nn.ModuleList(
            nn.Sequential(
                ConvModule(in_channels, width, size, padding=size // 2, **cfg),
                ConvModule(width, width, 1, **cfg),
            )
            for size in kernel_sizes
        )
        self.out = ConvModule(
            in_channels + width * len(kernel_sizes), out_channels, 1, **cfg
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        return self.out(torch.cat([x, *(branch(x) for branch in self.branches)], 1))
