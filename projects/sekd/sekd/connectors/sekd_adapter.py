"""From a student's map to what is compared with its teacher's."""

from mmcv.cnn import ConvModule
from mmrazor.models.architectures.connectors.base_connector import BaseConnector
from mmrazor.registry import MODELS
from torch import Tensor, nn

from sekd.random_window import check_ratio, hide_window

from .cbam import CBAM


@MODELS.register_module()
class SEKDAdapter(BaseConnector):
    """The adapter of SEKD, for the student's map of one stage.

    A 1x1 Conv-BN-ReLU to a common width, CBAM, a 3x3 Conv-BN to the teacher's
    channels, CBAM. It is trained with the student and left behind with the
    distillation.

    Args:
        in_channel (int): Channels of the student's map.
        out_channel (int): Channels of the teacher's, a multiple of ``reduction``.
        mid_channel (int): The common width, a multiple of ``reduction`` too.
            Defaults to 64.
        reduction (int): Of both CBAM. Defaults to 16.
        kernel_size (int): Of both CBAM. Defaults to 7.
        mask_ratio (float): Height and width of a window that is zeroed in the
            student's map at a random place before all this, as a share of the
            map's: the adapter then has to fill it from what is around. Defaults
            to 0, none: MaskedReconstructionLoss hides it in the adapted map.
        per_sample (bool): A window for each image, and not one for the batch.
            Defaults to False.
        init_cfg (dict, optional): Of MMEngine. Defaults to None.

    Raises:
        ValueError: A width is no multiple of ``reduction``, or ``mask_ratio`` is not
            in [0, 1].

    Example:
        >>> import torch
        >>> SEKDAdapter(in_channel=32, out_channel=128)(torch.rand(2, 32, 8, 8)).shape
        torch.Size([2, 128, 8, 8])
    """

    def __init__(
        self,
        in_channel: int,
        out_channel: int,
        mid_channel: int = 64,
        reduction: int = 16,
        kernel_size: int = 7,
        mask_ratio: float = 0.0,
        per_sample: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_ratio(mask_ratio)
        self.mask_ratio = mask_ratio
        self.per_sample = per_sample
        norm_cfg = dict(type='BN')
        self.layers = nn.Sequential(
            ConvModule(in_channel, mid_channel, 1, norm_cfg=norm_cfg),
            CBAM(mid_channel, reduction, kernel_size),
            ConvModule(
                mid_channel,
                out_channel,
                3,
                padding=1,
                norm_cfg=norm_cfg,
                act_cfg=None,
            ),
            CBAM(out_channel, reduction, kernel_size),
        )

    def forward_train(self, feature: Tensor) -> Tensor:
        """(N, in_channel, H, W) -> (N, out_channel, H, W)."""
        return self.layers(hide_window(feature, self.mask_ratio, self.per_sample))
