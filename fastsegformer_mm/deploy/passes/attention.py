"""Pass ``attention``."""

import torch.nn.functional as F
from torch import Tensor, nn

from fastsegformer_mm.models.backbones.efficientformer_v2_layers import (
    Attention,
    OffsetBias,
    StridedAttention,
)

from .dataflow import Dataflow
from .layers import is_convolution, last_scalable, replace, scale_output


class LeanAttention(nn.Module):
    """Either attention of EfficientFormerV2, without scale and look-up of the bias.

    Args:
        attention (Attention | StridedAttention): Its layers are taken over, the
            query's last one with the scale in it.
        grid (tuple[int]): Height and width of the keys for which the bias is laid
            out; for others it is looked up as before.
    """

    def __init__(self, attention: OffsetBias, grid: tuple[int, int]):
        super().__init__()
        self.table = OffsetBias(
            attention.num_heads, 1, 1, attention.resolution, attention.stride
        )
        self.stride_conv = getattr(attention, 'stride_conv', None)
        self.q, self.k, self.v = attention.q, attention.k, attention.v
        self.v_local = attention.v_local
        self.proj = attention.proj
        self.talking_head1 = getattr(attention, 'talking_head1', None)
        self.talking_head2 = getattr(attention, 'talking_head2', None)
        bias = attention.attention_biases
        if self.talking_head1 is not None:
            head = self.talking_head1
            bias = F.conv2d(bias[None, :, None].double(), head.weight.double())
            bias = bias[0, :, 0].to(head.weight)
            head.bias = None
        bias = bias.detach().clone()
        self.table.attention_biases = nn.Parameter(bias, requires_grad=False)
        self.grid = tuple(grid)
        self.register_buffer('laid_out', self.table.bias(*grid), persistent=False)

    def bias(self, height: int, width: int) -> Tensor:
        """The bias ``[heads, queries, keys]`` for keys on a height x width grid."""
        if (height, width) == self.grid:
            return self.laid_out
        return self.table.bias(height, width)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, C, H, W]`` to what the attention puts out."""
        size = x.shape[2:]
        if self.stride_conv is not None:
            x = self.stride_conv(x)
        q, k, v = self.q(x), self.k(x), self.v(x)
        heads = self.table.heads
        weights = heads(q).transpose(2, 3) @ heads(k)
        if self.talking_head1 is not None:
            weights = self.talking_head1(weights)
        weights = (weights + self.bias(*k.shape[2:])).softmax(-1)
        if self.talking_head2 is not None:
            weights = self.talking_head2(weights)
        out = heads(v) @ weights.transpose(2, 3)
        out = out.flatten(1, 2).unflatten(2, q.shape[2:]) + self.v_local(v)
        if self.stride_conv is not None:
            out = F.interpolate(out, size, mode='bilinear', align_corners=False)
        return self.proj(out)


def simplify_attention(network: nn.Module, example: Tensor) -> int:
    """Take scale, bias look-up and one bias out of EfficientFormerV2's attention.

    In ``softmax(T (s q' k + B) + t)``, over the keys, with the talking head T:

    - ``s (W * u + c) = (s W) * u + s c``: the scale goes into the query's layer;
    - ``T (w + B) = T w + T B``: T mixes heads at each place, so it may mix the
      table of biases beforehand, and interpolating the table for another grid, as
      linear as T, comes after it as well as before;
    - t is one number a head, the same for all keys: softmax does not see it;
    - the bias of the example's grid is a constant, and is laid out once.

    Besides, ``(P V')' = V P'``: two transpositions less.

    Args:
        network (nn.Module): Changed in place.
        example (Tensor): An input of the size that the network will mostly get.

    Returns:
        int: Attentions changed.
    """
    flow = Dataflow(network, example)
    count = 0
    for attention in list(network.modules()):
        if type(attention) not in (Attention, StridedAttention):
            continue
        query = attention.q
        query = list(query if type(attention) is Attention else query.proj)
        last = last_scalable(query)
        key = next(layer for layer in attention.k if is_convolution(layer))
        if last is None or not flow.runs_once(key):
            continue
        scale_output(last, key.weight.new_full((key.out_channels,), attention.scale))
        grid = flow.output(key).shape[2:]
        replace(network, attention, LeanAttention(attention, grid))
        count += 1
    return count
