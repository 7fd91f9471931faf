from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers.feature_fusion import FeatureFusion
from ..layers.norm_act import ACT_CFG, NORM_CFG, per_channel
from ..layers.stage import Stage, check_stages
from ..layers.stem import Stem


@MODELS.register_module()
class LMFFNet(BaseModule):
    """Encoder of LMFFNet, the light network from which MFF-Metal grew.

    .. code:: text

        image -> stem -> fusion -> stage 1 -> fusion -> stage 2 -> fusion
          |                ^                    ^                    ^
          +----------------+--------------------+--------------------+  average-pooled

    From `LMFFNet: A Well-Balanced Lightweight Network for Fast and Accurate Semantic
    Segmentation <https://doi.org/10.1109/TNNLS.2022.3176493>`_. Any input size will
    do, as every halving rounds up.

    Args:
        in_channels (int): Channels of the image. Defaults to 3.
        channels (Sequence[int]): Widths of the stem and of the two stages, the stages'
            multiples of 4 (see ``dilations``). Defaults to (32, 64, 128).
        dilations (Sequence[Sequence[Sequence[int]]]): For each stage, for each of its
            bottlenecks, the dilation of each branch. Defaults to the published ones:
            3 and 8 bottlenecks of two branches.
        norm_cfg (dict, optional): Config of the normalisation. Defaults to None,
            which is BN with eps 1e-3.
        act_cfg (dict, optional): Config of the activation. Defaults to None, which
            is PReLU with a slope a channel.
        init_cfg (dict, optional): As :class:`BaseModule`. Defaults to None: MMCV's
            start of convolutions (He, normal).

    Raises:
        ValueError: If ``dilations`` are not those of as many stages as ``channels``
            has widths after the stem's, or if a width cannot be split among the
            branches.

    Example:
        >>> encoder = LMFFNet()
        >>> for x in encoder(torch.rand(1, 3, 64, 64)):
        ...     print(tuple(x.shape))
        (1, 35, 32, 32)
        (1, 131, 16, 16)
        (1, 259, 8, 8)
    """

    dilations = (
        ((1, 2),) * 3,
        ((1, 4),) * 2 + ((1, 8),) * 2 + ((1, 16),) * 2 + ((1, 32),) * 2,
    )

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (32, 64, 128),
        dilations: Sequence[Sequence[Sequence[int]]] = dilations,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_stages(channels, dilations)
        norm_cfg, act_cfg = norm_cfg or NORM_CFG, act_cfg or ACT_CFG
        cfg = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.stem = Stem(in_channels, channels[0], stride=2, **cfg)
        # the official average counts the border's zeros
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        width = channels[0] + in_channels
        self.stem_fusion = ConvModule(
            width,
            width,
            1,
            norm_cfg=norm_cfg,
            act_cfg=per_channel(act_cfg, width),
            order=('norm', 'act', 'conv'),
        )
        self.stages, self.fusions = nn.ModuleList(), nn.ModuleList()
        for stage_width, stage_dilations in zip(channels[1:], dilations):
            self.stages.append(Stage(width, stage_width, stage_dilations, **cfg))
            width = 2 * stage_width + in_channels
            self.fusions.append(
                FeatureFusion(stage_width + in_channels, stage_width, width, **cfg)
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Image batch -> maps of the stem and of each stage, fused.

        Args:
            x (Tensor): (N, in_channels, H, W).

        Returns:
            tuple[Tensor]: Maps at strides 2, 4, 8, of the stem's width plus
            ``in_channels`` and twice the stages' plus ``in_channels``.
        """
        image = self.pool(x)
        x = self.stem_fusion(torch.cat([self.stem(x), image], dim=1))
        outs = [x]
        for stage, fusion in zip(self.stages, self.fusions):
            halved, x = stage(x)
            image = self.pool(image)
            x = fusion([x], [halved], [image])
            outs.append(x)
        return tuple(outs)
