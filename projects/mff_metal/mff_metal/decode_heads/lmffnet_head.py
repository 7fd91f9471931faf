from collections.abc import Sequence

from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from fastsegformer_mm.models.decode_heads.multi_level_head import MultiLevelHead

from ..boundary_supervision import BoundarySupervision
from ..layers.attention_decoder import AttentionDecoder
from ..layers.norm_act import ACT_CFG, NORM_CFG


@MODELS.register_module()
class LMFFNetHead(BoundarySupervision, MultiLevelHead):
    """Decoder of LMFFNet: class maps at stride 4, up-sampled to the image.

    The last two maps go through one :class:`AttentionDecoder`. The image is needed
    for its size alone, so that the logits have it: the segmentor must be an
    :class:`EncoderDecoderWithImage`. For distillation, the module ``logits``
    (``decode_head.logits`` of the segmentor) puts out the logits at that size.

    Args:
        in_channels (Sequence[int]): Widths of the three maps of :class:`LMFFNet`, at
            strides 2, 4 and 8, and of the image. The first is not used: it is listed
            so that the backbone is described in full.
        reduced_channels (Sequence[int]): Channels to which the maps at strides 4 and 8
            are reduced for the attention. Defaults to (16, 32).
        dropout_ratio (float): Share of the channels of either map that training
            leaves out. Defaults to 0, as the official network has it.
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
        >>> import torch
        >>> head = LMFFNetHead([35, 131, 259, 3], num_classes=4).eval()
        >>> maps = [torch.rand(1, c, 64 // s, 64 // s)
        ...         for c, s in zip(head.in_channels, (2, 4, 8, 1))]
        >>> head(maps).shape
        torch.Size([1, 4, 64, 64])
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        reduced_channels: Sequence[int] = (16, 32),
        dropout_ratio: float = 0.0,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
        **kwargs,
    ):
        super().__init__(
            in_channels,
            channels=sum(reduced_channels),
            with_image=True,
            num_maps=3,
            dropout_ratio=dropout_ratio,
            norm_cfg=norm_cfg or NORM_CFG,
            act_cfg=act_cfg or ACT_CFG,
            init_cfg=init_cfg,
            **kwargs,
        )
        # the class maps come out of the decoder
        del self.conv_seg
        self.decoder = AttentionDecoder(
            in_channels[1:3],
            reduced_channels,
            self.out_channels,
            self.norm_cfg,
            self.act_cfg,
            self.align_corners,
        )
        self.logits = nn.Identity()

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps at strides 2, 4, 8 and the image -> logits.

        Args:
            inputs (Sequence[Tensor]): Feature maps, shallow to deep, and the image.

        Returns:
            Tensor: (N, out_channels, H, W), at the size of the image.
        """
        _, shallow, deep, image = self._transform_inputs(inputs)
        if self.dropout is not None:
            shallow, deep = self.dropout(shallow), self.dropout(deep)
        x = self.decoder(shallow, deep)
        size = image.shape[2:]
        x = resize(x, size, None, 'bilinear', self.align_corners, warning=False)
        return self.logits(x)
