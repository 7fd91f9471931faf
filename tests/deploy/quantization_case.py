"""A small network with one layer that INT8 harms, for the tests of quantization."""

import numpy as np
import torch
from torch import Tensor, nn

SIDE = 24


class Small(nn.Module):
    """Convolutions, a depthwise one, GELU, a norm and a sum.

    The map that ``harmful`` reads has one channel a thousand times larger than the
    others, which weigh as much: eight bits for all of them leave nothing of those.

    Args:
        harm (float): How much larger.
    """

    def __init__(self, harm: float = 1.0):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.harmful = nn.Conv2d(8, 8, 1)
        self.norm = nn.GroupNorm(1, 8)
        self.wide = nn.Conv2d(8, 8, 3, padding=1)
        self.last = nn.Conv2d(16, 4, 1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter *= 2
            self.depthwise.weight[0] *= harm
            self.depthwise.bias[0] *= harm
            self.harmful.weight[:, 0] /= harm
        self.eval().requires_grad_(False)

    def forward(self, image: Tensor) -> Tensor:
        """``[N, 3, H, W]`` -> ``[N, 4, H, W]``."""
        x = nn.functional.gelu(self.first(image))
        x = self.norm(self.harmful(self.depthwise(x)))
        return self.last(torch.cat([x, nn.functional.gelu(self.wide(x))], 1))


def images(count: int = 6) -> list[np.ndarray]:
    """Inputs between 0 and 1."""
    rng = np.random.default_rng(0)
    return [rng.random((1, 3, SIDE, SIDE), dtype=np.float32) for _ in range(count)]


def closeness(outputs: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """100 where equal, less by the mean error in percent of the spread."""
    errors = [np.abs(a - b).mean() / b.std() for a, b in zip(outputs, expected)]
    return 100 - 100 * float(np.mean(errors))
