"""Adaptive average pooling in a form that every graph knows."""

import copy

import torch
from torch import Tensor, nn


class MatrixPool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` as a matrix product from either side.

    ONNX has no adaptive pooling, and exporters write one only where the bins divide
    the map, or for the size they see. The bins here follow from the size at run time.

    Args:
        bins (tuple[int]): Height and width of the output.

    Example:
        >>> x = torch.rand(1, 2, 7, 9)
        >>> torch.allclose(MatrixPool((2, 3))(x), nn.AdaptiveAvgPool2d((2, 3))(x))
        True
    """

    def __init__(self, bins: tuple[int, int]):
        super().__init__()
        self.bins = bins

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, *bins)."""
        size = torch._shape_as_tensor(x)
        rows, columns = (_means(size[i + 2], self.bins[i]) for i in (0, 1))
        return rows.t() @ (x @ columns)


def _means(length: Tensor, bins: int) -> Tensor:
    """(length, bins): a column has 1 / n at the n places of its bin."""
    place = torch.arange(length)[:, None]
    index = torch.arange(bins)[None]
    first = torch.div(index * length, bins, rounding_mode='trunc')
    end = torch.div((index + 1) * length + (bins - 1), bins, rounding_mode='trunc')
    inside = ((place >= first) & (place < end)).float()
    return inside / (end - first).float()


def without_adaptive_pools(network: nn.Module) -> nn.Module:
    """A copy with :class:`MatrixPool` for every pool to more than one bin."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                size = child.output_size
                bins = size if isinstance(size, tuple) else (size, size)
                if bins != (1, 1) and None not in bins:
                    setattr(module, name, MatrixPool(bins))
    return network
