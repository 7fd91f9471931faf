"""The layers of EfficientFormerV2, under the official names."""

import inspect
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmcv.cnn.bricks import DropPath
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# torch.compiler has it since torch 2.3
is_compiling = getattr(getattr(torch, 'compiler', None), 'is_compiling', None)
if is_compiling is None:
    is_compiling = torch._utils.is_compiling


def conv_norm(in_channels, out_channels, kernel_size, norm_cfg, stride=1, groups=1):
    """Convolution (with bias, as the official) and norm, named '0' and '1'."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            kernel_size // 2,
            groups=groups,
        ),
        build_norm_layer(norm_cfg, out_channels)[1],
    )


def offset_index(height, width, stride=1, device=None):
    """Where the bias of each query-key pair stands in a table of offsets.

    Keys stand on the whole grid, queries on every ``stride``-th position.

    Returns:
        Tensor: int64 ``[ceil(height/stride) * ceil(width/stride), height * width]``
        with the values ``|stride*y - y'| * width + |stride*x - x'|``.
    """

    def offsets(size):
        keys = torch.arange(size, device=device)
        return (keys[::stride, None] - keys).abs()

    dy, dx = offsets(height), offsets(width)
    return (dy[:, None, :, None] * width + dx[:, None]).flatten(2).flatten(0, 1)


class OffsetBias(nn.Module):
    """Base of the two attentions: heads, and the bias by offset.

    ``attention_biases`` holds one value a head for each (|dy|, |dx|) of a
    ``resolution`` x ``resolution`` grid, row-major. For any other grid the table
    is interpolated bilinearly with ``align_corners=True``: offset 0 keeps its
    value and so does the farthest offset, those between are stretched.
    """

    def __init__(self, num_heads, key_dim, value_dim, resolution, stride=1):
        super().__init__()
        self.num_heads = num_heads
        self.scale = key_dim**-0.5
        self.key_channels = num_heads * key_dim
        self.value_channels = num_heads * value_dim
        self.resolution = resolution
        self.stride = stride
        self.attention_biases = nn.Parameter(torch.zeros(num_heads, resolution**2))
        # not persistent: checkpoints hold the official parameters and no more
        self.register_buffer(
            'bias_index',
            offset_index(resolution, resolution, stride),
            persistent=False,
        )

    def bias(self, height, width):
        """The bias ``[heads, queries, keys]`` for keys on a height x width grid."""
        table, size = self.attention_biases, self.resolution
        if height == size and width == size:
            return table[:, self.bias_index]
        table = F.interpolate(
            table.view(1, -1, size, size),
            (height, width),
            mode='bilinear',
            align_corners=True,
        )
        index = offset_index(height, width, self.stride, table.device)
        return table[0].flatten(1)[:, index]

    def heads(self, x):
        """``[N, heads*C, H, W]`` to ``[N, heads, C, H*W]``."""
        return x.flatten(2).unflatten(1, (self.num_heads, -1))


class Attention(OffsetBias):
    """Attention with talking heads and a depthwise path of the values.

    Args:
        channels (int): Channels in and out.
        resolution (int): Side of the grid that the bias table describes, after
            the halving.
        halve (bool): Attend on a map of half the size, and resize the result to
            the input's size before the output projection.
        norm_cfg (dict): Config of the norm layers.
    """

    def __init__(self, channels, resolution, halve, norm_cfg):
        super().__init__(8, 32, 128, resolution)
        keys, values = self.key_channels, self.value_channels
        self.stride_conv = (
            conv_norm(channels, channels, 3, norm_cfg, stride=2, groups=channels)
            if halve
            else None
        )
        self.q = conv_norm(channels, keys, 1, norm_cfg)
        self.k = conv_norm(channels, keys, 1, norm_cfg)
        self.v = conv_norm(channels, values, 1, norm_cfg)
        self.v_local = conv_norm(values, values, 3, norm_cfg, groups=values)
        self.talking_head1 = nn.Conv2d(self.num_heads, self.num_heads, 1)
        self.talking_head2 = nn.Conv2d(self.num_heads, self.num_heads, 1)
        self.proj = nn.Sequential(nn.GELU(), *conv_norm(values, channels, 1, norm_cfg))

    def forward(self, x):
        size = x.shape[2:]
        if self.stride_conv is not None:
            x = self.stride_conv(x)
        height, width = x.shape[2:]
        q, k, v = self.q(x), self.k(x), self.v(x)
        weights = self.heads(q).transpose(2, 3) * self.scale @ self.heads(k)
        weights = self.talking_head1(weights + self.bias(height, width))
        weights = self.talking_head2(weights.softmax(-1))
        out = (weights @ self.heads(v).transpose(2, 3)).transpose(2, 3)
        out = out.flatten(1, 2).unflatten(2, (height, width)) + self.v_local(v)
        if self.stride_conv is not None:
            # by size, not by factor: an odd map was halved upwards
            out = F.interpolate(out, size, mode='bilinear', align_corners=False)
        return self.proj(out)


class StridedQuery(nn.Module):
    """Queries at half the size: depthwise conv plus every second position."""

    def __init__(self, channels, out_channels, norm_cfg):
        super().__init__()
        self.local = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 2, 1, groups=channels)
        )
        self.proj = conv_norm(channels, out_channels, 1, norm_cfg)

    def forward(self, x):
        return self.proj(self.local(x) + x[:, :, ::2, ::2])


class StridedAttention(OffsetBias):
    """Attention of a half-size grid of queries over the whole map.

    Args:
        in_channels (int): Channels in.
        out_channels (int): Channels out, at half the size (rounded up).
        resolution (int): Side of the grid of keys that the bias table describes.
        norm_cfg (dict): Config of the norm layers.
    """

    def __init__(self, in_channels, out_channels, resolution, norm_cfg):
        super().__init__(8, 16, 64, resolution, stride=2)
        keys, values = self.key_channels, self.value_channels
        self.q = StridedQuery(in_channels, keys, norm_cfg)
        self.k = conv_norm(in_channels, keys, 1, norm_cfg)
        self.v = conv_norm(in_channels, values, 1, norm_cfg)
        self.v_local = conv_norm(values, values, 3, norm_cfg, stride=2, groups=values)
        self.proj = nn.Sequential(
            nn.GELU(), *conv_norm(values, out_channels, 1, norm_cfg)
        )

    def forward(self, x):
        q, k, v = self.q(x), self.k(x), self.v(x)
        weights = self.heads(q).transpose(2, 3) * self.scale @ self.heads(k)
        weights = (weights + self.bias(*x.shape[2:])).softmax(-1)
        out = (weights @ self.heads(v).transpose(2, 3)).transpose(2, 3)
        out = out.flatten(1, 2).unflatten(2, q.shape[2:])
        return self.proj(out + self.v_local(v))


class DownSampling(nn.Module):
    """3x3 stride-2 convolution and norm, between two stages."""

    def __init__(self, in_channels, out_channels, norm_cfg):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.norm = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x):
        return self.norm(self.proj(x))


class AttentionDownSampling(nn.Module):
    """The same plus strided attention, before the last stage."""

    def __init__(self, in_channels, out_channels, resolution, norm_cfg):
        super().__init__()
        self.attn = StridedAttention(in_channels, out_channels, resolution, norm_cfg)
        self.conv = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.bn = build_norm_layer(norm_cfg, out_channels)[1]

    def forward(self, x):
        return self.attn(x) + self.bn(self.conv(x))


class FeedForward(nn.Module):
    """1x1 conv, 3x3 depthwise conv, 1x1 conv, each followed by a norm."""

    def __init__(self, channels, hidden_channels, norm_cfg):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden_channels, 1)
        self.norm1 = build_norm_layer(norm_cfg, hidden_channels)[1]
        self.mid = nn.Conv2d(
            hidden_channels, hidden_channels, 3, padding=1, groups=hidden_channels
        )
        self.mid_norm = build_norm_layer(norm_cfg, hidden_channels)[1]
        self.fc2 = nn.Conv2d(hidden_channels, channels, 1)
        self.norm2 = build_norm_layer(norm_cfg, channels)[1]
        self.act = nn.GELU()

    def forward(self, x):
        x = self.act(self.norm1(self.fc1(x)))
        x = self.act(self.mid_norm(self.mid(x)))
        return self.norm2(self.fc2(x))


@contextmanager
def kept_statistics(module):
    """Let the norms of ``module`` leave their running statistics alone.

    Checkpointing runs a block twice in a training step; without this the second
    run would move the statistics once more.
    """
    norms = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    kept = [(m.momentum, m.num_batches_tracked.clone()) for m in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)


class Block(nn.Module):
    """Residual feed-forward, after a residual attention if one is given."""

    def __init__(
        self, channels, mlp_ratio, drop_path, norm_cfg, attention=None, with_cp=False
    ):
        super().__init__()
        self.token_mixer = attention
        if attention is not None:
            self.layer_scale_1 = nn.Parameter(torch.full((channels, 1, 1), 1e-5))
        self.mlp = FeedForward(channels, int(channels * mlp_ratio), norm_cfg)
        self.layer_scale_2 = nn.Parameter(torch.full((channels, 1, 1), 1e-5))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()
        if with_cp and 'context_fn' not in inspect.signature(checkpoint).parameters:
            raise ValueError(
                f'with_cp=True needs torch >= 2.1, found {torch.__version__}: '
                'set with_cp=False'
            )
        self.with_cp = with_cp

    def _forward(self, x):
        if self.token_mixer is not None:
            x = x + self.drop_path(self.layer_scale_1 * self.token_mixer(x))
        return x + self.drop_path(self.layer_scale_2 * self.mlp(x))

    def forward(self, x):
        if not self.with_cp or not torch.is_grad_enabled():
            return self._forward(x)
        if is_compiling():
            # the compiler recomputes without a second update of the statistics
            return checkpoint(self._forward, x, use_reentrant=False)
        return checkpoint(
            self._forward,
            x,
            use_reentrant=False,
            context_fn=lambda: (nullcontext(), kept_statistics(self)),
        )
