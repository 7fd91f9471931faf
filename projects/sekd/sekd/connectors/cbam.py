"""Attention over channels, then over pixels."""

import torch
from torch import Tensor, nn


class CBAM(nn.Module):
    """Convolutional block attention module.

    From `CBAM: Convolutional Block Attention Module
    <https://arxiv.org/abs/1807.06521>`_. Each channel is multiplied by a gate made of
    its mean and of its maximum by one small perceptron, then each pixel by a gate
    made of the mean and the maximum over the channels by a convolution. No layer has
    a bias.

    Args:
        channels (int): C of the map, a multiple of ``reduction``.
        reduction (int): C over the width of the perceptron's hidden layer. Defaults
            to 16.
        kernel_size (int): Of the convolution, odd. Defaults to 7.

    Raises:
        ValueError: ``channels`` is no multiple of ``reduction``, or ``kernel_size``
            is even.

    Example:
        >>> CBAM(64)(torch.rand(2, 64, 14, 14)).shape
        torch.Size([2, 64, 14, 14])
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7):
        super().__init__()
        if channels % reduction:
            raise ValueError(
                f'channels={channels} is no multiple of reduction={reduction}; '
                'choose a reduction that divides it'
            )
        if kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, got {kernel_size}')
        self.perceptron = nn.Sequential(
            nn.Conv2d(channels, channels // reduction, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(channels // reduction, channels, 1, bias=False),
        )
        self.spatial = nn.Conv2d(
            2, 1, kernel_size, padding=kernel_size // 2, bias=False
        )

    def channel_gate(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1) in [0, 1]."""
        mean = feature.mean((2, 3), keepdim=True)
        maximum = feature.amax((2, 3), keepdim=True)
        return (self.perceptron(mean) + self.perceptron(maximum)).sigmoid()

    def spatial_gate(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W) in [0, 1]."""
        mean = feature.mean(1, keepdim=True)
        maximum = feature.amax(1, keepdim=True)
        return self.spatial(torch.cat([mean, maximum], 1)).sigmoid()

    def forward(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        feature = feature * self.channel_gate(feature)
        return feature * self.spatial_gate(feature)
