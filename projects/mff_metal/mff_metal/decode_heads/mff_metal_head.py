from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.models.decode_heads.multi_level_head import MultiLevelHead

from ..boundary_supervision import BoundarySupervision
from ..layers.attention_decoder import AttentionDecoder
from ..layers.norm_act import ACT_CFG, NORM_CFG


class ScaleDecoder(AttentionDecoder):
    """An :class:`AttentionDecoder` that also says how much its scale should count.

    Args: as :class:`AttentionDecoder`.

    Example:
        >>> decoder = ScaleDecoder([60, 90], [16, 24], num_classes=4)
        >>> outs = decoder(torch.rand(2, 60, 8, 8), torch.rand(2, 90, 4, 4))
        >>> [tuple(x.shape) for x in outs]
        [(2, 4, 8, 8), (2, 1, 1, 1)]
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        reduced_channels: Sequence[int],
        *args,
        **kwargs,
    ):
        super().__init__(in_channels, reduced_channels, *args, **kwargs)
        self.weigh = ConvModule(sum(reduced_channels), 1, 1, bias=False, act_cfg=None)

    def forward(self, shallow: Tensor, deep: Tensor) -> tuple[Tensor, Tensor]:
        """Class maps at the size of the shallow map, and one number an image."""
        joint = self.join(shallow, deep)
        return self.gate(joint, deep), self.weigh(F.adaptive_avg_pool2d(joint, 1))


@MODELS.register_module()
class MFFMetalHead(BoundarySupervision, MultiLevelHead):
    """Decoder of MFF-Metal: class maps of two scales, weighed against one another.

    .. code:: text

        stride 8 -+-> class maps at stride 4 -> up-sampled x softmax weight -+
        stride 4 -+-+                                                        sum
        stride 2 ---+-> class maps at stride 2 -> up-sampled x weight -------+-> logits

    A network's logits have the size of its stem's map, that of the image: a plain
    :class:`EncoderDecoder` will do. For distillation, the module ``logits``
    (``decode_head.logits`` of the segmentor) puts them out.

    Args:
        in_channels (Sequence[int]): Widths of the four maps of
            :class:`MFFMetalEncoder`, at strides 1, 2, 4 and 8. The first one gives
            its size alone.
        reduced_channels (Sequence[int]): Channels to which the shallow and the deep
            map of either pair are reduced for the attention. Defaults to (16, 24).
        dropout_ratio (float): Share of the channels of each map that training leaves
            out. Defaults to 0, as the official network has it.
        norm_cfg (dict, optional): Config of the normalisation. Defaults to None,
            which is BN with eps 1e-3.
        act_cfg (dict, optional): Config of the activation. Defaults to None, which
            is PReLU with a slope a channel.
        init_cfg (dict, optional): As :class:`BaseModule`. Defaults to None: MMCV's
            start of convolutions (He, normal). There is no ``conv_seg`` to override.
        **kwargs: As :class:`MultiLevelHead` and :class:`BaseDecodeHead`, less
            ``channels``; ``num_classes`` is required.

    Raises:
        ValueError: If in_channels, in_index or reduced_channels are not as many as
            there are maps; at the forward pass, if the maps are not those of
            in_channels.

    Example:
        >>> head = MFFMetalHead([30, 60, 90, 120], num_classes=4).eval()
        >>> maps = [torch.rand(1, c, 64 // s, 64 // s)
        ...         for c, s in zip(head.in_channels, (1, 2, 4, 8))]
        >>> head(maps).shape
        torch.Size([1, 4, 64, 64])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        reduced_channels: Sequence[int] = (16, 24),
        dropout_ratio: float = 0.0,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ):
        super().__init__(
            in_channels,
            channels=sum(reduced_channels),
            with_image=False,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or NORM_CFG,
            act_cfg=act_cfg or ACT_CFG,
            init_cfg=init_cfg,
            **kwargs,
        )
        # the class maps come out of the decoders
        del self.conv_seg
        self.deep_decoder, self.shallow_decoder = (
            ScaleDecoder(
                pair,
                reduced_channels,
                self.out_channels,
                self.norm_cfg,
                self.act_cfg,
                self.align_corners,
            )
            for pair in (in_channels[2:], in_channels[1:3])
        )
        self.logits = nn.Identity()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps at strides 1, 2, 4, 8 -> logits.

        Args:
            inputs (Sequence[Tensor]): Feature maps, shallow to deep.

        Returns:
            Tensor: (N, out_channels, H, W), at the size of the first map.
        """
        stem, *maps = self._transform_inputs(inputs)
        if self.dropout is not None:
            maps = [self.dropout(x) for x in maps]
        scales, weights = zip(
            self.deep_decoder(maps[1], maps[2]), self.shallow_decoder(maps[0], maps[1])
        )
        weights = torch.cat(weights, dim=1).softmax(dim=1)
        size = stem.shape[2:]
        logits = sum(
            resize(x, size, None, 'bilinear', self.align_corners, warning=False)
            * weights[:, i : i + 1]
            for i, x in enumerate(scales)
        )
        return self.logits(logits)
