import torch
from mmcv.cnn import ConvModule
from mmengine.dist import get_world_size
from mmseg.models.decode_heads.psp_head import PPM
from torch import Tensor, nn
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm


class PyramidPooling(nn.Module):
    """Pooling pyramid: MMSegmentation's PPM, concatenated with its input and mixed.

    From `Pyramid Scene Parsing Network <https://arxiv.org/abs/1612.01105>`_.

    At batch 1 the branch that pools to 1x1 hands BatchNorm a single value a
    channel, which has no variance; plain BatchNorm refuses to train on it. There
    this branch normalises with its running statistics, which stay as they are,
    so that training and inference agree. At larger batches, and where SyncBN
    gathers the values of several processes, nothing differs from PPM.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        pool_scales (Sequence[int]): Sides of the grids pooled to; a branch is
            ``in_channels // len(pool_scales)`` wide. Defaults to (1, 2, 3, 6).
        conv_cfg (dict, optional): Config of the convolutions. Defaults to None,
            which is ``Conv2d``.
        norm_cfg (dict, optional): Config of the normalisation after every
            convolution. Defaults to None, which is none.
        act_cfg (dict, optional): Config of the activation after every
            convolution. Defaults to None, which is none.
        align_corners (bool): How the pooled grids are up-sampled. Defaults to
            True.

    Example:
        >>> import torch
        >>> pyramid = PyramidPooling(160, 320, norm_cfg=dict(type='BN'))
        >>> pyramid(torch.rand(1, 160, 7, 9)).shape
        torch.Size([1, 320, 7, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        pool_scales=(1, 2, 3, 6),
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        align_corners: bool = True,
    ):
        super().__init__()
        cfg = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        width = in_channels // len(pool_scales)
        self.branches = PPM(
            pool_scales, in_channels, width, align_corners=align_corners, **cfg
        )
        self.out = ConvModule(
            in_channels + width * len(pool_scales), out_channels, 1, **cfg
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H, W)."""
        norms = []
        if self.training and len(x) == 1:
            norms = self._norms_of_single_values()
        for norm in norms:
            norm.eval()
        pooled = self.branches(x)
        for norm in norms:
            norm.train()
        return self.out(torch.cat([x, *pooled], 1))

    def _norms_of_single_values(self) -> list[nn.Module]:
        """Training BatchNorms that see one value a channel at batch 1."""
        norms = [
            conv.norm
            for scale, (_, conv) in zip(self.branches.pool_scales, self.branches)
            if scale == 1 and isinstance(conv.norm, _BatchNorm) and conv.norm.training
        ]
        if get_world_size() > 1:
            # these gather the other processes' values, and wait for them
            norms = [norm for norm in norms if not isinstance(norm, SyncBatchNorm)]
        return norms
