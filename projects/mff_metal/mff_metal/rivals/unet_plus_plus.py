import torch
from mmengine.model import BaseModule
from mmseg.models.backbones.unet import BasicConvBlock
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class UNetPlusPlus(BaseModule):
    r"""UNet++: a U-Net whose skips are filled with further nodes.

    .. code:: text

        x00 --> x01 --> x02 --> x03      a node x(i, j) is two 3x3 convolutions of all
          \    /  \    /  \    /         earlier nodes of its row i, and of x(i+1, j-1)
           x10 --> x11 --> x12           up-sampled to the row's size; the first column
             \    /  \    /              is the encoder, with 2x2 max pooling between
              x20 --> x21                its rows
                \    /
                 x30

    From `UNet++: A Nested U-Net Architecture for Medical Image Segmentation
    <https://arxiv.org/abs/1807.10165>`_. Maps are up-sampled bilinearly, without
    parameters, to the true size of the row they join, so that any input size will do.

    The outputs are the nodes of the first row: each is a prediction's features at
    full resolution. A head with ``in_index=-1`` reads the last; deep supervision is
    an auxiliary head on each of the others, and pruning a head that reads one of them.

    Args:
        in_channels (int): Channels of the image. Defaults to 3.
        base_channels (int): Width of the first row; each row has twice that of the one
            above. Defaults to 32.
        num_rows (int): Rows, which is the length of the encoder. Defaults to 5.
        align_corners (bool): How maps are up-sampled. Defaults to False.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to None,
            which is ``Conv2d``.
        norm_cfg (dict): Config of the normalisation. Defaults to
            ``dict(type='BN')``.
        act_cfg (dict): Config of the activation. Defaults to ``dict(type='ReLU')``.
        init_cfg (dict or list[dict], optional): Initial weights. Defaults to None,
            which is Kaiming's for convolutions, as in MMSegmentation's UNet.

    Raises:
        ValueError: If there are fewer than two rows.

    Example:
        >>> import torch
        >>> net = UNetPlusPlus(base_channels=8, num_rows=3)
        >>> [tuple(x.shape) for x in net(torch.rand(1, 3, 50, 35))]
        [(1, 8, 50, 35), (1, 8, 50, 35)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        base_channels: int = 32,
        num_rows: int = 5,
        align_corners: bool = False,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ):
        if num_rows < 2:
            raise ValueError(f'num_rows={num_rows}: UNet++ needs 2 rows or more')
        super().__init__(
            init_cfg
            or [
                {'type': 'Kaiming', 'layer': 'Conv2d'},
                {'type': 'Constant', 'val': 1, 'layer': ['_BatchNorm', 'GroupNorm']},
            ]
        )
        self.num_rows = num_rows
        self.align_corners = align_corners
        widths = [base_channels * 2**row for row in range(num_rows)]
        cfg = {
            'conv_cfg': conv_cfg,
            'norm_cfg': norm_cfg or {'type': 'BN'},
            'act_cfg': act_cfg or {'type': 'ReLU'},
        }
        # odd sizes are rounded up, so that no input is too small
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.nodes = nn.ModuleDict()
        for column in range(num_rows):
            for row in range(num_rows - column):
                if column:
                    inputs = column * widths[row] + widths[row + 1]
                else:
                    inputs = widths[row - 1] if row else in_channels
                self.nodes[f'{row}_{column}'] = BasicConvBlock(
                    inputs, widths[row], **cfg
                )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (N, in_channels, H, W) -> the first row's nodes but the encoder's.

        Returns:
            list[Tensor]: ``num_rows - 1`` maps (N, base_channels, H, W), the deepest
            sub-network's last.
        """
        rows = []
        for row in range(self.num_rows):
            x = self.nodes[f'{row}_0'](self.pool(x) if row else x)
            rows.append([x])
        for column in range(1, self.num_rows):
            for row in range(self.num_rows - column):
                up = resize(
                    rows[row + 1][column - 1],
                    rows[row][0].shape[2:],
                    mode='bilinear',
                    align_corners=self.align_corners,
                )
                node = self.nodes[f'{row}_{column}']
                rows[row].append(node(torch.cat([*rows[row], up], 1)))
        return rows[0][1:]
