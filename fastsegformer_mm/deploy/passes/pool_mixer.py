"""Pass ``pool_mixer``."""

import torch
from torch import Tensor, nn


class PoolMixer(nn.Module):
    """PoolFormer's norm and token mixer in one, without the norm's shift and mean.

    Args:
        norm (nn.GroupNorm): Of one group.
        pool (nn.AvgPool2d): A mean of what it sees, whatever the border.
    """

    def __init__(self, norm: nn.GroupNorm, pool: nn.AvgPool2d):
        super().__init__()
        self.pool = pool
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach().clone(), False)
        self.bias = None

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]``, ``weight * (pool(x) - x) / sigma``."""
        variance = x.var((1, 2, 3), correction=0, keepdim=True)
        return (self.pool(x) - x) * (
            self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        )


def simplify_pool_mixer(network: nn.Module, example: Tensor) -> int:
    """Take the norm's shift and mean out of PoolFormer's token mixer.

    With ``n(x) = w (x - m) / sigma + b`` (GroupNorm of one group: m and sigma are
    those of the whole map) the mixer is ``pool(n(x)) - n(x)``. Its pool is a mean
    of the true neighbours, also at the border (``count_include_pad=False``), so it
    leaves constants alone: b and m cancel, and the rest is linear::

        pool(n(x)) - n(x) = w / sigma (pool(x) - x)

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): Not used; as in the other passes.

    Returns:
        int: Mixers changed.
    """
    count = 0
    for block in network.modules():
        if not is_pool_block(block):
            continue
        norm, pool = block.norm1, block.token_mixer.pool
        if (
            type(norm) is nn.GroupNorm
            and norm.num_groups == 1
            and norm.affine
            and not pool.count_include_pad
            and pool.divisor_override is None
        ):
            block.token_mixer = PoolMixer(norm, pool)
            block.norm1 = nn.Identity()
            count += 1
    return count


def is_pool_block(module: nn.Module) -> bool:
    """Whether it is a PoolFormerBlock with its own mixer."""
    # by name: only MMPretrain's PoolFormer should make MMPretrain be imported
    return type(module).__name__ == 'PoolFormerBlock' and isinstance(
        getattr(module.token_mixer, 'pool', None), nn.AvgPool2d
    )
