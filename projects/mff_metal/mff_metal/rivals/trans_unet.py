import torch
from mmcv.cnn import ConvModule, build_norm_layer
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmseg.models.backbones.resnet import ResNet
from mmseg.models.backbones.unet import BasicConvBlock
from mmseg.models.backbones.vit import TransformerEncoderLayer
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn


class StemmedResNet(ResNet):
    """Three stages of ResNet-50, of 3, 4 and 6 blocks or more, with its stem's map.

    Convolutions are weight-standardised and normalised in groups, as in the hybrid
    ViT that TransUNet starts from.

    Args:
        base_channels (int): Width of the stem, of which the stages give 4, 8 and 16
            times as much.
        stage_blocks (tuple[int]): Blocks of the three stages.
    """

    def __init__(self, base_channels: int, stage_blocks: tuple[int, int, int]):
        # the parent looks up its blocks by depth
        self.arch_settings = {50: (ResNet.arch_settings[50][0], stage_blocks)}
        super().__init__(
            depth=50,
            stem_channels=base_channels,
            base_channels=base_channels,
            num_stages=3,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            out_indices=(0, 1, 2),
            conv_cfg={'type': 'ConvWS'},
            # two channels a group at the stem, at any width
            norm_cfg={'type': 'GN', 'num_groups': base_channels // 2, 'eps': 1e-6},
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> maps at strides 2, 4, 8 and 16."""
        x = self.relu(self.norm1(self.conv1(x)))
        maps = [x]
        x = self.maxpool(x)
        for name in self.res_layers:
            x = getattr(self, name)(x)
            maps.append(x)
        return maps


@MODELS.register_module()
class TransUNet(BaseModule):
    """TransUNet: a transformer between a convolutional encoder and a U-Net's decoder.

    .. code:: text

        image -> ResNet stem -> stage 1 -> stage 2 -> stage 3 (stride 16)
          |          |             |          |          v
          |          |             |          |    1x1 and positions
          |          |             |          |     transformer layers
          |          |             |          |          v
          1 <------- 2 <---------- 4 <------- 8 <------- 3x3
               cascaded up-sampler: bilinear, concat, 3x3, 3x3

    From `TransUNet: Transformers Make Strong Encoders for Medical Image Segmentation
    <https://arxiv.org/abs/2102.04306>`_. The position embedding is a map, resized
    (bicubic) where the input has another size than the one it was made for, and the
    decoder's maps are up-sampled to the true sizes of their skips, so that any input
    size will do.

    Args:
        arch (str): 'base', as in the paper: ResNet-50's stages of 3, 4 and 9 blocks and
            ViT-B (12 layers, 768 wide, 12 heads); or 'compact': stages half as wide, a
            transformer of 13 layers, 512 wide, with 4 heads and an MLP of 1024, and a
            decoder half as wide, about the scale at which MFF-Metal's authors ran it.
            Defaults to 'base'.
        img_size (tuple[int]): Height and width in pixels for which the position
            embedding has one vector a patch. Defaults to (224, 224).
        drop_rate (float): Dropout of the transformer. Defaults to 0.1.
        norm_cfg (dict): Config of the decoder's normalisation. Defaults to
            ``dict(type='BN')``; the encoder has GroupNorm and LayerNorm.
        init_cfg (dict or list[dict], optional): Initial weights. Defaults to None,
            which is a truncated normal for linear layers and Kaiming's for the
            decoder's convolutions.

    Raises:
        ValueError: If ``arch`` is none of the two.

    Example:
        >>> import torch
        >>> net = TransUNet('compact', img_size=(64, 64)).eval()
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 50, 35))]
        [(1, 128, 7, 5), (1, 64, 13, 9), (1, 32, 25, 18), (1, 8, 50, 35)]
    """

    stage_blocks = (3, 4, 9)
    arch_settings = {
        'base': {
            'base_channels': 64,
            'embed_dims': 768,
            'num_layers': 12,
            'num_heads': 12,
            'mlp_channels': 3072,
            'neck_channels': 512,
            'decoder_channels': (256, 128, 64, 16),
        },
        'compact': {
            'base_channels': 32,
            'embed_dims': 512,
            'num_layers': 13,
            'num_heads': 4,
            'mlp_channels': 1024,
            'neck_channels': 256,
            'decoder_channels': (128, 64, 32, 8),
        },
    }

    def __init__(
        self,
        arch: str = 'base',
        img_size: tuple[int, int] = (224, 224),
        drop_rate: float = 0.1,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        if arch not in self.arch_settings:
            raise ValueError(
                f'arch={arch!r}, expected one of {sorted(self.arch_settings)}'
            )
        super().__init__(
            init_cfg
            or [
                {'type': 'TruncNormal', 'std': 0.02, 'layer': 'Linear'},
                {'type': 'Kaiming', 'layer': 'Conv2d'},
                {'type': 'Constant', 'val': 1, 'layer': ['_BatchNorm', 'GroupNorm']},
            ]
        )
        settings = self.arch_settings[arch]
        base, width = settings['base_channels'], settings['embed_dims']
        norm_cfg = norm_cfg or {'type': 'BN'}
        self.resnet = StemmedResNet(base, self.stage_blocks)
        self.patch_embed = nn.Conv2d(16 * base, width, 1)
        # one vector a patch of 16x16; a rest is a patch of its own
        grid = [-(-side // 16) for side in img_size]
        self.pos_embed = nn.Parameter(torch.zeros(1, width, *grid))
        trunc_normal_(self.pos_embed, std=0.02)
        self.dropout = nn.Dropout(drop_rate)
        layer_norm = {'type': 'LN', 'eps': 1e-6}
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(
                width,
                settings['num_heads'],
                settings['mlp_channels'],
                drop_rate=drop_rate,
                norm_cfg=layer_norm,
            )
            for _ in range(settings['num_layers'])
        )
        self.norm = build_norm_layer(layer_norm, width)[1]
        neck = settings['neck_channels']
        self.neck = ConvModule(width, neck, 3, padding=1, norm_cfg=norm_cfg)
        widths = settings['decoder_channels']
        self.decoder = nn.ModuleList(
            BasicConvBlock(deeper + skip, channels, norm_cfg=norm_cfg)
            for deeper, skip, channels in zip(
                (neck, *widths), (8 * base, 4 * base, base, 0), widths
            )
        )

    def _positions(self, size: tuple[int, int]) -> Tensor:
        """The position embedding of a map of ``size``, (1, embed_dims, *size)."""
        if tuple(self.pos_embed.shape[2:]) == tuple(size):
            return self.pos_embed
        return resize(self.pos_embed, size, mode='bicubic', align_corners=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Images (N, 3, H, W) -> the decoder's maps, at strides 8, 4, 2 and 1.

        Returns:
            list[Tensor]: Four maps, deep to shallow; the last is of the image's size.
        """
        *skips, x = self.resnet(image)
        x = self.patch_embed(x)
        size = x.shape[2:]
        tokens = (x + self._positions(size)).flatten(2).transpose(1, 2)
        tokens = self.dropout(tokens)
        for layer in self.layers:
            tokens = layer(tokens)
        x = self.norm(tokens).transpose(1, 2).unflatten(2, size)
        x = self.neck(x)
        maps = []
        # the last level, at the image's size, has no skip
        for convs, skip in zip(self.decoder, (*skips[::-1], None)):
            shape = image.shape[2:] if skip is None else skip.shape[2:]
            x = resize(x, shape, mode='bilinear', align_corners=True)
            x = convs(x if skip is None else torch.cat([x, skip], 1))
            maps.append(x)
        return maps
