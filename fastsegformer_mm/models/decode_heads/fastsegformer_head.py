from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from mmcv.cnn.bricks import build_activation_layer
from mmseg.models.backbones.fast_scnn import FeatureFusionModule
from mmseg.models.utils import InvertedResidual, resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.models.decode_heads.multi_level_head import MultiLevelHead
from fastsegformer_mm.models.layers.multi_scale_pyramid import MultiScalePyramid
from fastsegformer_mm.models.layers.pyramid_pooling import PyramidPooling


class FeatureFusion(FeatureFusionModule):
    """Fast-SCNN's feature fusion, as FastSegFormer's authors have it.

    Its two 1x1 convolutions keep a bias in front of their normalisation, and the
    sum has the head's activation.

    Args:
        higher_in_channels (int): Channels of the map of higher resolution.
        channels (int): Channels of the map of lower resolution and of the output.
        act_cfg (dict, optional): Config of the activation.
        **kwargs: As :class:`FeatureFusionModule`.
    """

    def __init__(
        self, higher_in_channels: int, channels: int, act_cfg: dict | None, **kwargs
    ):
        super().__init__(
            higher_in_channels, channels, channels, dwconv_act_cfg=act_cfg, **kwargs
        )
        for module in (self.conv_lower_res, self.conv_higher_res):
            module.conv.bias = nn.Parameter(torch.zeros(channels))
        self.relu = build_activation_layer(act_cfg) if act_cfg else nn.Identity()


class ImageBranch(nn.Module):
    """Image reconstruction branch: adds the image's detail at half its size.

    Args:
        in_channels (int): Channels of the decoder's map.
        image_channels (int): Channels of the image.
        channels (int): Channels of the branch.
        separable (bool): Whether the convolution of the sum is depthwise-separable
            or a full 3x3 one.
        conv_cfg (dict, optional): Config of the convolutions.
        norm_cfg (dict, optional): Config of the normalisation.
        act_cfg (dict, optional): Config of the activation.
        align_corners (bool): How both maps are resized.
    """

    def __init__(
        self,
        in_channels: int,
        image_channels: int,
        channels: int,
        separable: bool,
        conv_cfg: dict | None,
        norm_cfg: dict | None,
        act_cfg: dict | None,
        align_corners: bool,
    ):
        super().__init__()
        self.align_corners = align_corners
        cfg = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg}
        self.reduce = ConvModule(
            in_channels, channels, 1, conv_cfg=conv_cfg, act_cfg=None
        )
        self.image_conv = ConvModule(
            image_channels, channels, 3, padding=1, act_cfg=None, **cfg
        )
        conv = DepthwiseSeparableConvModule if separable else ConvModule
        self.fuse = conv(channels, channels, 3, padding=1, act_cfg=act_cfg, **cfg)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """(N, in_channels, h, w), (N, 3, H, W) -> (N, channels, H/2, W/2), halves
        rounded up."""
        half = [(side + 1) // 2 for side in image.shape[2:]]
        x, image = (
            resize(y, half, None, 'bilinear', self.align_corners, warning=False)
            for y in (self.reduce(x), image)
        )
        return self.fuse(x + self.image_conv(image))


@MODELS.register_module()
class FastSegFormerHead(MultiLevelHead):
    """Decoder of FastSegFormer.

    .. code:: text

        stride 32 -> stem -> bottleneck -> pyramid -+
                                                    v
        stride 8 --------------------------------> fusion -> classifier -+
              +----------------------------------------------------------+
              +-> conv_seg -> logits at stride 8             (no branch)
              +-> branch -> x2 (-> refine) -> conv_seg -> logits at stride 1
                    ^
        image ------+

    From `FastSegFormer: A knowledge distillation-based method for real-time
    semantic segmentation of surface defects in navel oranges
    <https://doi.org/10.1016/j.compag.2023.108604>`_. Maps are resized to the true
    sizes of their targets, so that any input size will do.

    In training, a batch of one image goes with every option: see
    :class:`PyramidPooling` for what the 1x1 pool of ``pyramid='ppm'`` does then.

    Args:
        in_channels (Sequence[int]): Widths of the backbone's maps at strides 4, 8,
            16 and 32; and of the image, 3, when there is a branch. The maps at
            strides 4 and 16 are not used: they are listed so that every backbone
            is described in the same way.
        channels (int): Width of the pyramid's and the fusion's output.
        stem_channels (int): Width after the first 1x1 convolution.
        bottleneck_channels (Sequence[int]): Widths of the groups of linear
            bottlenecks.
        num_blocks (Sequence[int]): Number of linear bottlenecks in each group.
        expand_ratio (int): Expansion in the linear bottlenecks. Defaults to 3.
        pyramid (str): 'msp', parallel convolutions of sizes 1, 3, 5, 7, or 'ppm',
            average pools to 1, 2, 3, 6. Defaults to 'msp'.
        branch_channels (int, optional): Width of the image reconstruction branch;
            the image is then the fifth map, so the segmentor must be an
            :class:`EncoderDecoderWithImage`. Defaults to None, no branch.
        branch_separable (bool): Whether the branch's convolution at half size is
            depthwise-separable or a full 3x3 one. Defaults to True.
        branch_refine_channels (int, optional): Width of a 3x3 convolution at full
            size, after the branch. Defaults to None, none.
        in_index (Sequence[int], optional): Which maps to read. Defaults to None,
            which is [0, 1, 2, 3], and 4 with a branch.
        align_corners (bool): How maps and logits are resized. Defaults to True.
        **kwargs: As :class:`BaseDecodeHead` (``num_classes`` is required);
            ``norm_cfg`` defaults to BN.

    Raises:
        ValueError: If the pyramid is unknown, if the lengths of in_channels,
            in_index, bottleneck_channels or num_blocks do not go together, if an
            option of the branch is given without one; at the forward pass, if the
            maps are not those of in_channels.

    Example:
        >>> import torch
        >>> head = FastSegFormerHead(
        ...     [32, 48, 96, 176, 3], 320, stem_channels=128,
        ...     bottleneck_channels=[128, 160], num_blocks=[3, 3],
        ...     branch_channels=32, num_classes=4).eval()
        >>> maps = [torch.rand(1, c, 224 // s, 224 // s)
        ...         for c, s in zip(head.in_channels, (4, 8, 16, 32, 1))]
        >>> head(maps).shape
        torch.Size([1, 4, 224, 224])
    """

    pyramids = {'msp': MultiScalePyramid, 'ppm': PyramidPooling}

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        stem_channels: int,
        bottleneck_channels: Sequence[int],
        num_blocks: Sequence[int],
        expand_ratio: int = 3,
        pyramid: str = 'msp',
        branch_channels: int | None = None,
        branch_separable: bool = True,
        branch_refine_channels: int | None = None,
        in_index: Sequence[int] | None = None,
        align_corners: bool = True,
        **kwargs,
    ):
        if pyramid not in self.pyramids:
            raise ValueError(
                f'pyramid must be one of {sorted(self.pyramids)}, got {pyramid!r}'
            )
        if len(bottleneck_channels) != len(num_blocks):
            raise ValueError(
                'bottleneck_channels and num_blocks must be of one length, got '
                f'{list(bottleneck_channels)} and {list(num_blocks)}'
            )
        if branch_channels is None and branch_refine_channels is not None:
            raise ValueError(
                f'branch_refine_channels={branch_refine_channels} needs the branch: '
                'set branch_channels too'
            )
        super().__init__(
            in_channels,
            channels,
            with_image=branch_channels is not None,
            in_index=in_index,
            align_corners=align_corners,
            **kwargs,
        )
        cfg = {
            'conv_cfg': self.conv_cfg,
            'norm_cfg': self.norm_cfg,
            'act_cfg': self.act_cfg,
        }
        resized = {'align_corners': align_corners, **cfg}

        self.stem = ConvModule(in_channels[3], stem_channels, 1, **cfg)
        blocks, width = [], stem_channels
        for out_width, count in zip(bottleneck_channels, num_blocks):
            for _ in range(count):
                blocks.append(
                    InvertedResidual(width, out_width, 1, expand_ratio, **cfg)
                )
                width = out_width
        self.bottleneck = nn.Sequential(*blocks)
        self.pyramid = self.pyramids[pyramid](
            width, channels, **(resized if pyramid == 'ppm' else cfg)
        )
        self.fusion = FeatureFusion(in_channels[1], channels, **resized)
        self.classifier = nn.Sequential(
            *(
                DepthwiseSeparableConvModule(channels, channels, 3, padding=1, **cfg)
                for _ in range(2)
            )
        )
        self.branch = self.refine = None
        if branch_channels is not None:
            self.branch = ImageBranch(
                channels, in_channels[4], branch_channels, branch_separable, **resized
            )
            if branch_refine_channels is not None:
                self.refine = ConvModule(
                    branch_channels, branch_refine_channels, 3, padding=1, **cfg
                )
            self.conv_seg = nn.Conv2d(
                branch_refine_channels or branch_channels, self.out_channels, 1
            )

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps at strides 4, 8, 16, 32 (and the image) -> logits.

        Args:
            inputs (Sequence[Tensor]): Feature maps, shallow to deep, and the image.

        Returns:
            Tensor: (N, out_channels, H, W), at the size of the image with the
            branch, at that of the map at stride 8 without.
        """
        _, stride_8, _, stride_32, *image = self._transform_inputs(inputs)
        x = self.pyramid(self.bottleneck(self.stem(stride_32)))
        x = self.classifier(self.fusion(stride_8, x))
        if self.branch is None:
            return self.cls_seg(x)
        # the official dropout is in front of the branch, not of the last convolution
        if self.dropout is not None:
            x = self.dropout(x)
        x = self.branch(x, *image)
        size = image[0].shape[2:]
        x = resize(x, size, None, 'bilinear', self.align_corners, warning=False)
        if self.refine is not None:
            x = self.refine(x)
        return self.conv_seg(x)
