"""Pass ``pool_mixer``."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .dataflow import Dataflow


class PoolMixer(nn.Module):
    """PoolFormer's norm and token mixer in one.

    Args:
        norm (nn.GroupNorm): Of one group.
        pool (nn.AvgPool2d): Of stride 1, a mean of what it sees at the border too.
        grid (tuple[int]): Height and width of the maps for which the counts of
            neighbours are laid out; for others they are counted anew.
    """

    def __init__(self, norm: nn.GroupNorm, pool: nn.AvgPool2d, grid: tuple[int, int]):
        super().__init__()
        self.eps = norm.eps
        self.size = pool.kernel_size
        self.weight = nn.Parameter(norm.weight.detach().clone(), requires_grad=False)
        self.bias = None  # as a norm's
        # the sum of all neighbours less as many times the middle
        area = self.size**2
        kernel = norm.weight.new_ones(norm.num_channels, 1, self.size, self.size)
        kernel[:, :, self.size // 2, self.size // 2] -= area
        self.register_buffer('kernel', kernel.detach())
        self.grid = tuple(grid)
        shares = self.count_shares(*grid, like=kernel).detach()
        self.register_buffer('shares', shares, persistent=False)

    def count_shares(self, height: int, width: int, like: Tensor) -> Tensor:
        """Size of the window by the number of neighbours in it, ``[height, width]``."""

        def along(length):
            place = torch.arange(length, device=like.device)
            first = (place - self.size // 2).clamp(min=0)
            last = (place + self.size // 2).clamp(max=length - 1)
            return self.size / (last - first + 1).to(like.dtype)

        return along(height)[:, None] * along(width)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``, ``weight * (pool(x) - x) / sigma``."""
        height, width = x.shape[2:]
        if (height, width) == self.grid:
            shares = self.shares
        else:
            shares = self.count_shares(height, width, x)
        area = self.size**2
        sums = F.conv2d(x, self.kernel, padding=self.size // 2, groups=x.shape[1])
        difference = sums * shares + x * (area * (shares - 1))
        variance = x.var((1, 2, 3), correction=0, keepdim=True)
        scale = (self.weight / area)[:, None, None] * torch.rsqrt(variance + self.eps)
        return difference * scale


def simplify_pool_mixer(network: nn.Module, example: Tensor) -> int:
    """Take the norm's shift and mean out of PoolFormer's token mixer.

    With ``n(x) = w (x - m) / sigma + b`` (GroupNorm of one group: m and sigma are
    those of the whole map) the mixer is ``pool(n(x)) - n(x)``. Its pool is a mean
    of the true neighbours, also at the border (``count_include_pad=False``), so it
    leaves constants alone: b and m cancel, and the rest is linear::

        pool(n(x)) - n(x) = w / sigma (pool(x) - x)

    The mean is then a depthwise convolution, which runtimes do better than
    pooling. With A = 9 places in the window, c of them inside the map, S the sum of
    those and D = S - A x what a kernel of ones less 9 in the middle puts out::

        A (pool(x) - x) = A / c S - A x = A / c D + A (A / c - 1) x

    Inside, A / c is 1 and D alone is left: the difference is taken before anything
    is rounded. Kernel and shares (1, 1.5, 2.25) are exact in bfloat16 too, which
    1/9 is not.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): An input of the size that the network will mostly get.

    Returns:
        int: Mixers changed.
    """
    flow = Dataflow(network, example)
    count = 0
    for block in network.modules():
        if not is_pool_block(block) or isinstance(block.token_mixer, PoolMixer):
            continue
        norm, pool = block.norm1, block.token_mixer.pool
        if (
            type(norm) is nn.GroupNorm
            and norm.num_groups == 1
            and norm.affine
            and not pool.count_include_pad
            and pool.divisor_override is None
            and flow.ran(norm)
        ):
            grid = flow.output(norm).shape[2:]
            block.token_mixer = PoolMixer(norm, pool, grid)
            block.norm1 = nn.Identity()
            count += 1
    return count


def is_pool_block(module: nn.Module) -> bool:
    """Whether it is a PoolFormerBlock, with its pool or without."""
    # by name: only MMPretrain's PoolFormer should make MMPretrain be imported
    return type(module).__name__ == 'PoolFormerBlock' and (
        isinstance(module.token_mixer, PoolMixer)
        or isinstance(getattr(module.token_mixer, 'pool', None), nn.AvgPool2d)
    )
