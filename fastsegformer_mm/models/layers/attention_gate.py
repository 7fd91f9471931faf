from mmcv.cnn import ConvModule
from mmcv.cnn.bricks import build_activation_layer
from torch import Tensor, nn


class AttentionGate(nn.Module):
    """Additive attention gate on a skip connection.

    A coarser, more semantic map (the gate) decides where the skip passes:
    ``skip * sigmoid(psi(act(W_g(gate) + W_x(skip))))``, each of W_g, W_x and psi a
    1x1 convolution with bias and normalisation, psi to one channel.

    From `Attention U-Net: Learning Where to Look for the Pancreas
    <https://arxiv.org/abs/1804.03999>`_.

    Args:
        gate_channels (int): Channels of the gate.
        skip_channels (int): Channels of the skip, and of the output.
        channels (int): Channels in which the two are compared.
        conv_cfg (dict, optional): Config of the convolutions. Defaults to None,
            which is ``Conv2d``.
        norm_cfg (dict, optional): Config of the normalisation. Defaults to None,
            which is none. It must bear psi's single channel.
        act_cfg (dict, optional): Config of the activation of the sum. Defaults to
            None, which is none.

    Example:
        >>> import torch
        >>> gate = AttentionGate(64, 32, 16, act_cfg=dict(type='ReLU'))
        >>> gate(torch.rand(2, 64, 7, 9), torch.rand(2, 32, 7, 9)).shape
        torch.Size([2, 32, 7, 9])
    """

    def __init__(
        self,
        gate_channels: int,
        skip_channels: int,
        channels: int,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
    ):
        super().__init__()
        # the official convolutions keep a bias in front of BatchNorm
        cfg = {'conv_cfg': conv_cfg, 'norm_cfg': norm_cfg, 'bias': True}
        self.w_gate = ConvModule(gate_channels, channels, 1, act_cfg=None, **cfg)
        self.w_skip = ConvModule(skip_channels, channels, 1, act_cfg=None, **cfg)
        self.act = build_activation_layer(act_cfg) if act_cfg else nn.Identity()
        self.psi = ConvModule(channels, 1, 1, act_cfg={'type': 'Sigmoid'}, **cfg)

    def forward(self, gate: Tensor, skip: Tensor) -> Tensor:
        """(N, gate_channels, H, W), (N, skip_channels, H, W) -> as the skip."""
        return skip * self.psi(self.act(self.w_gate(gate) + self.w_skip(skip)))
