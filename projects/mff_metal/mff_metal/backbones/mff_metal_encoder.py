from collections.abc import Sequence

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..layers.feature_fusion import FeatureFusion
from ..layers.norm_act import ACT_CFG, NORM_CFG
from ..layers.stage import Stage, check_stages
from ..layers.stem import Stem


@MODELS.register_module()
class MFFMetalEncoder(BaseModule):
    """Encoder of MFF-Metal, LMFFNet's relative for defects of metal surfaces.

    .. code:: text

        image -> stem -> stage 1 -> stage 2 -> stage 3
                  |        ^         ^          ^
                  +--------+---------+----------+-- the image and all earlier outputs,
                                                    average-pooled

    The stem is a 3x3 convolution and two dilated by 2, at the size of the image. A
    stage halves the map, runs three-branch bottlenecks and fuses with their result
    the image, and under channel attention the halved map, the stem's and all earlier
    stages' outputs. The official network is defined at multiples of 8 pixels; here
    any size will do, as every halving rounds up.

    Args:
        in_channels (int): Channels of the image. Defaults to 3.
        channels (Sequence[int]): Widths of the stem and of each stage, the stages'
            multiples of 6 (see ``dilations``). Defaults to (30, 60, 90, 120), the
            student; the teacher's are (180, 360, 540, 720).
        dilations (Sequence[Sequence[Sequence[int]]]): For each stage, for each of its
            bottlenecks, the dilation of each branch. Defaults to the published ones:
            2, 2 and 6 bottlenecks of three branches.
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
        >>> import torch
        >>> encoder = MFFMetalEncoder()
        >>> for x in encoder(torch.rand(1, 3, 64, 64)):
        ...     print(tuple(x.shape))
        (1, 30, 64, 64)
        (1, 60, 32, 32)
        (1, 90, 16, 16)
        (1, 120, 8, 8)
    """

    dilations = (
        ((1, 2, 3),) * 2,
        ((1, 2, 3),) * 2,
        ((1, 2, 3),) * 2 + ((1, 4, 6),) * 2 + ((1, 8, 12),) * 2,
    )

    def __init__(
        self,
        in_channels: int = 3,
        channels: Sequence[int] = (30, 60, 90, 120),
        dilations: Sequence[Sequence[Sequence[int]]] = dilations,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_stages(channels, dilations)
        norm_cfg, act_cfg = norm_cfg or NORM_CFG, act_cfg or ACT_CFG
        cfg = {'norm_cfg': norm_cfg, 'act_cfg': act_cfg}
        self.stem = Stem(in_channels, channels[0], dilation=2, **cfg)
        # the official average counts the border's zeros
        self.pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.stages, self.fusions = nn.ModuleList(), nn.ModuleList()
        for i, stage_dilations in enumerate(dilations):
            width = channels[i + 1]
            self.stages.append(
                Stage(channels[i], width, stage_dilations, kernel_size=2, **cfg)
            )
            attended = width + sum(channels[: i + 1])
            self.fusions.append(
                FeatureFusion(width + in_channels, attended, width, **cfg)
            )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Image batch -> maps of the stem and of each stage.

        Args:
            x (Tensor): (N, in_channels, H, W).

        Returns:
            tuple[Tensor]: Maps of the widths ``channels`` at strides 1, 2, 4, 8.
        """
        image = x
        x = self.stem(image)
        outs, skips = [x], [x]
        for stage, fusion in zip(self.stages, self.fusions):
            halved, x = stage(x)
            image = self.pool(image)
            skips = [self.pool(skip) for skip in skips]
            x = fusion([x, image], [halved, *skips])
            outs.append(x)
            # the latest first, as the official weights have them
            skips.insert(0, x)
        return tuple(outs)
