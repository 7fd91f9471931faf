from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.models.decode_heads.multi_level_head import MultiLevelHead
from fastsegformer_mm.models.layers.attention_gate import AttentionGate


class AttUNetLevel(nn.Module):
    """One level of the attention U-Net's decoder.

    .. code:: text

        x -> up-sample -> 3x3 -> up -+--------------------------+
                                     v                          v
        skip -> skip_conv --------> gate -> project (1x1) -> concat -> 3x3 -> 3x3

    Args:
        in_channels (int): Channels of the deeper level.
        channels (int): Channels of this level and of its skip.
        skip_channels (int, optional): Channels to which a plain 1x1 convolution
            takes the gated skip. None for no such convolution.
        skip_conv (nn.Module): What takes the map of the skip to ``channels``.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict, optional): Config of the normalisation.
        act_cfg (dict, optional): Config of the activation.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        skip_channels: int | None,
        skip_conv: nn.Module,
        conv_cfg: dict | None,
        norm_cfg: dict | None,
        act_cfg: dict | None,
    ):
        super().__init__()
        cfg = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.skip_conv = skip_conv
        self.up = ConvModule(in_channels, channels, 3, padding=1, bias=True, **cfg)
        self.gate = AttentionGate(channels, channels, channels // 2, **cfg)
        self.project = (
            nn.Identity()
            if skip_channels is None
            else ConvModule(channels, skip_channels, 1, conv_cfg=conv_cfg, act_cfg=None)
        )
        self.conv = double_conv(channels + (skip_channels or channels), channels, cfg)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Deeper map, skip of size (H, W) -> (N, channels, H, W)."""
        skip = self.skip_conv(skip)
        x = self.up(resize(x, skip.shape[2:], mode='nearest'))
        skip = self.project(self.gate(x, skip))
        return self.conv(torch.cat([x, skip], 1))


def double_conv(in_channels: int, channels: int, cfg: dict) -> nn.Sequential:
    """Two 3x3 convolutions, which keep their bias as in the official network."""
    return nn.Sequential(
        ConvModule(in_channels, channels, 3, padding=1, bias=True, **cfg),
        ConvModule(channels, channels, 3, padding=1, bias=True, **cfg),
    )


@MODELS.register_module()
class AttUNetHead(MultiLevelHead):
    """Attention U-Net decoder of FastSegFormer's teacher, Swin-Att-UNet.

    A bottleneck on the deepest map, then four levels at strides 16, 8, 4 and 2,
    each with an attention gate on its skip: the backbone's three shallower maps,
    and two convolutions of the image pooled to half its size. Maps are up-sampled
    to the true sizes of their skips, so that any input size will do.

    From `FastSegFormer: A knowledge distillation-based method for real-time
    semantic segmentation of surface defects in navel oranges
    <https://doi.org/10.1016/j.compag.2023.108604>`_; the gates from `Attention
    U-Net <https://arxiv.org/abs/1804.03999>`_.

    Args:
        in_channels (Sequence[int]): Widths of the backbone's maps at strides 4, 8,
            16 and 32, and of the image, 3, so that the segmentor must be an
            :class:`EncoderDecoderWithImage`.
        bottleneck_channels (int): Width of the bottleneck. Defaults to 1024.
        decoder_channels (Sequence[int]): Widths of the levels, deep to shallow.
            Defaults to (512, 256, 128, 64), Swin-T's; Swin-S has 128 in the last.
        skip_channels (Sequence[int | None]): Widths to which plain 1x1
            convolutions take the gated skips, deep to shallow; None for no
            convolution. Defaults to (192, 96, 128, 64), Swin-T's; Swin-S has None
            in the last.
        idle_channels (int, optional): Width of a 1x1 convolution that the official
            Swin-S teacher holds and never runs, 64: with it, parameters and
            checkpoints agree with the official ones one to one. It takes no
            gradient. Defaults to None, none.
        in_index (Sequence[int], optional): Which maps to read. Defaults to None,
            which is [0, 1, 2, 3, 4].
        dropout_ratio (float): Dropout before the last convolution. Defaults to 0.
        **kwargs: As :class:`BaseDecodeHead` (``num_classes`` is required), less
            ``channels``, which is the last of decoder_channels; ``norm_cfg``
            defaults to BN.

    Raises:
        ValueError: If the lengths of in_channels, in_index, decoder_channels or
            skip_channels do not fit; at the forward pass, if the maps are not those
            of in_channels.

    Example:
        >>> import torch
        >>> head = AttUNetHead([96, 192, 384, 768, 3], num_classes=4).eval()
        >>> maps = [torch.rand(1, c, 64 // s, 64 // s)
        ...         for c, s in zip(head.in_channels, (4, 8, 16, 32, 1))]
        >>> head(maps).shape
        torch.Size([1, 4, 64, 64])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        bottleneck_channels: int = 1024,
        decoder_channels: Sequence[int] = (512, 256, 128, 64),
        skip_channels: Sequence[int | None] = (192, 96, 128, 64),
        idle_channels: int | None = None,
        in_index: Sequence[int] | None = None,
        dropout_ratio: float = 0.0,
        **kwargs,
    ):
        if len(decoder_channels) != 4 or len(skip_channels) != 4:
            raise ValueError(
                'decoder_channels and skip_channels must have one entry for each of '
                f'the four levels, got {list(decoder_channels)} and '
                f'{list(skip_channels)}'
            )
        super().__init__(
            in_channels,
            decoder_channels[-1],
            with_image=True,
            in_index=in_index,
            dropout_ratio=dropout_ratio,
            **kwargs,
        )
        cfg = {
            'conv_cfg': self.conv_cfg,
            'norm_cfg': self.norm_cfg,
            'act_cfg': self.act_cfg,
        }
        self.bottleneck = ConvModule(
            in_channels[3], bottleneck_channels, 3, padding=1, **cfg
        )
        self.decoder = nn.ModuleList()
        width = bottleneck_channels
        # the maps that the levels skip to, deep to shallow: strides 16, 8, 4, image
        for level, in_width in enumerate((*in_channels[2::-1], in_channels[4])):
            channels = decoder_channels[level]
            if level < 3:
                skip_conv = ConvModule(in_width, channels, 1, bias=True, **cfg)
            else:
                # odd sizes are rounded up, as the backbones' strides do
                skip_conv = nn.Sequential(
                    nn.MaxPool2d(2, ceil_mode=True),
                    double_conv(in_width, channels, cfg),
                )
            self.decoder.append(
                AttUNetLevel(width, channels, skip_channels[level], skip_conv, **cfg)
            )
            width = channels
        self.conv_seg = nn.Conv2d(width, self.out_channels, 3, padding=1)
        if idle_channels is not None:
            self.idle_conv = nn.Conv2d(idle_channels, idle_channels, 1)
            self.idle_conv.requires_grad_(False)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps at strides 4, 8, 16, 32 and the image -> logits of the image's size.

        Args:
            inputs (Sequence[Tensor]): Feature maps, shallow to deep, and the image.

        Returns:
            Tensor: (N, out_channels, H, W).
        """
        *maps, deepest, image = self._transform_inputs(inputs)
        x = self.bottleneck(deepest)
        for level, skip in zip(self.decoder, (*maps[::-1], image)):
            x = level(x, skip)
        x = resize(x, image.shape[2:], None, 'bilinear', self.align_corners)
        return self.cls_seg(x)
