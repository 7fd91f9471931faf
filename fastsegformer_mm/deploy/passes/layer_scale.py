"""Pass ``layer_scale``."""

from torch import Tensor, nn

from fastsegformer_mm.models.backbones.efficientformer_v2_layers import Block

from .layers import last_scalable, replace, scale_output
from .pool_mixer import PoolMixer, is_pool_block


class Residuals(nn.Module):
    """``x + part(x)``, for each part in turn.

    Args:
        *parts (nn.Module): Each from a map to one of the same shape.
    """

    def __init__(self, *parts: nn.Module):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to the same."""
        for part in self.parts:
            x = x + part(x)
        return x


def fold_layer_scale(network: nn.Module, example: Tensor) -> int:
    """Fold the scales of residual branches into the last layer of the branch.

    ``x + s (W * u + c) = x + (s W) * u + s c``: the last layer is EfficientFormerV2's
    ``mlp.fc2`` and its attention's projection (their BatchNorm where it still
    stands), PoolFormer's ``mlp.fc2``. Its token mixer is linear a channel, so the
    scale goes through to the norm in front: ``s (pool(w v + b) - (w v + b))`` has
    weight ``s w`` and bias ``s b``.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): Not used; as in the other passes.

    Returns:
        int: Scales folded.
    """
    count = 0
    for block in list(network.modules()):
        branches = _branches(block)
        lasts = [last_scalable(chain) for _, _, chain in branches]
        if not branches or None in lasts:
            continue
        for last, (scale, _, _) in zip(lasts, branches):
            scale_output(last, scale.detach().flatten())
        replace(network, block, Residuals(*(branch for _, branch, _ in branches)))
        count += len(branches)
    return count


def _branches(block):
    """Of each branch the scale, the module and the chain of layers at its end."""
    if type(block) is Block:
        branches = [(block.layer_scale_2, block.mlp, [block.mlp.fc2, block.mlp.norm2])]
        if block.token_mixer is not None:
            mixer = block.token_mixer
            branches.insert(0, (block.layer_scale_1, mixer, list(mixer.proj)))
        return branches
    if is_pool_block(block):
        mixer = nn.Sequential(block.norm1, block.token_mixer)
        feed_forward = nn.Sequential(block.norm2, block.mlp)
        linear = isinstance(block.token_mixer, PoolMixer)
        last = block.token_mixer if linear else block.norm1
        return [
            (block.layer_scale_1, mixer, [last]),
            (block.layer_scale_2, feed_forward, [block.mlp.fc2]),
        ]
    return []
