from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class EncoderDecoderWithImage(EncoderDecoder):
    """An :class:`EncoderDecoder` that hands its heads the image as one more map.

    Some decoders look back at the image: FastSegFormer's image reconstruction
    branch, the shallowest skip of the attention U-Net. Heads get features only,
    so the image, as the data preprocessor leaves it, is appended to the feature
    maps of the backbone (of the neck, where there is one), at stride 1.

    Heads that count from the front (``in_index=[0, 1, 2, 3]``) see the same maps
    as in :class:`EncoderDecoder`, auxiliary heads too. Negative indices count from
    the image: ``in_index=-1``, many a head's default, is the image, and the last
    feature map is ``-2``.

    Args: as :class:`EncoderDecoder`.

    Example:
        >>> import torch
        >>> from mmseg.registry import MODELS
        >>> model = MODELS.build(dict(
        ...     type='EncoderDecoderWithImage',
        ...     backbone=dict(type='ResNetV1c', depth=18, base_channels=64),
        ...     decode_head=dict(
        ...         type='FastSegFormerHead',
        ...         in_channels=[64, 128, 256, 512, 3],
        ...         channels=512,
        ...         stem_channels=256,
        ...         bottleneck_channels=[256],
        ...         num_blocks=[2],
        ...         branch_channels=32,
        ...         num_classes=4)))
        >>> for x in model.extract_feat(torch.rand(1, 3, 64, 64)):
        ...     print(tuple(x.shape))
        (1, 64, 16, 16)
        (1, 128, 8, 8)
        (1, 256, 4, 4)
        (1, 512, 2, 2)
        (1, 3, 64, 64)
    """

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone or neck, then the image itself."""
        return (*super().extract_feat(inputs), inputs)
