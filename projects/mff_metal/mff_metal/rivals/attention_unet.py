from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.models.decode_heads.att_unet_head import (
    AttUNetLevel,
    double_conv,
)


@MODELS.register_module()
class AttentionUNet(BaseModule):
    """Attention U-Net: a U-Net with a gate on each skip.

    .. code:: text

        encoder level -------> gate ----+
                                ^       v
        deeper map -> up, 3x3 --+--> concat -> 3x3 -> 3x3

    From `Attention U-Net: Learning Where to Look for the Pancreas
    <https://arxiv.org/abs/1804.03999>`_, in two dimensions and in the form in which it
    is mostly used: the gate looks at the decoder's map after its up-sampling, and is
    as large as the skip. Convolutions keep a bias in front of their normalisation.
    Maps are up-sampled to the true sizes of their skips, so that any input size will
    do.

    Args:
        in_channels (int): Channels of the image. Defaults to 3.
        base_channels (int): Width of the first level; each level has twice that of the
            one above. Defaults to 64.
        num_levels (int): Levels of the encoder. Defaults to 5.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to None,
            which is ``Conv2d``.
        norm_cfg (dict): Config of the normalisation, which must bear a single
            channel. Defaults to ``dict(type='BN')``.
        act_cfg (dict): Config of the activation. Defaults to ``dict(type='ReLU')``.
        init_cfg (dict or list[dict], optional): Initial weights. Defaults to None,
            which is Kaiming's for convolutions, as in MMSegmentation's UNet.

    Raises:
        ValueError: If there are fewer than two levels.

    Example:
        >>> import torch
        >>> net = AttentionUNet(base_channels=8, num_levels=3)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 50, 35))]
        [(1, 32, 13, 9), (1, 16, 25, 18), (1, 8, 50, 35)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 64,
        num_levels: int = 5,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        if num_levels < 2:
            raise ValueError(
                f'num_levels={num_levels}: Attention U-Net needs 2 levels or more'
            )
        super().__init__(
            init_cfg
            or [
                {'type': 'Kaiming', 'layer': 'Conv2d'},
                {'type': 'Constant', 'val': 1, 'layer': ['_BatchNorm', 'GroupNorm']},
            ]
        )
        widths = [base_channels * 2**level for level in range(num_levels)]
        cfg = {
            'conv_cfg': conv_cfg,
            'norm_cfg': norm_cfg or {'type': 'BN'},
            'act_cfg': act_cfg or {'type': 'ReLU'},
        }
        # odd sizes are rounded up, so that no input is too small
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.encoder = nn.ModuleList(
            double_conv(inputs, width, cfg)
            for inputs, width in zip([in_channels, *widths], widths)
        )
        self.decoder = nn.ModuleList(
            AttUNetLevel(deeper, width, None, nn.Identity(), **cfg)
            for deeper, width in zip(widths[:0:-1], widths[-2::-1])
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, in_channels, H, W) -> the deepest map and the decoder's.

        Returns:
            list[Tensor]: ``num_levels`` maps, deep to shallow, as of MMSegmentation's
            UNet; the last is (N, base_channels, H, W).
        """
        skips = []
        for level, convs in enumerate(self.encoder):
            x = convs(self.pool(x) if level else x)
            skips.append(x)
        maps = [skips.pop()]
        for level in self.decoder:
            maps.append(level(maps[-1], skips.pop()))
        return maps
