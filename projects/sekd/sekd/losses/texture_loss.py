"""The loss on patch embeddings of SEKD."""

import math

import torch
from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)


def tokens_to_map(tokens: Tensor, size: tuple[int, int] | None = None) -> Tensor:
    """(N, HW, C) -> (N, C, H, W); without ``size``, H and W are equal.

    Raises:
        ValueError: They are no tokens of such a map.
    """
    if tokens.dim() != 3:
        raise ValueError(
            f'TextureLoss compares patch embeddings, tokens of shape (N, HW, C), and '
            f'got {tuple(tokens.shape)}: record a patch embedding, for example '
            "dict(type='ModuleOutputs', source='backbone.layers.0.0'), with data_idx=0"
        )
    length = tokens.shape[1]
    if size is None:
        size = (math.isqrt(length),) * 2
    height, width = size
    if height * width != length:
        raise ValueError(
            f'{length} tokens are no map of {height}x{width}: where images are not '
            'square, give TextureLoss the size too, size_S and size_T, which the same '
            'recorder has at data_idx=1'
        )
    return tokens.mT.unflatten(2, (height, width))


@MODELS.register_module()
class TextureLoss(nn.Module):
    r"""Texture distillation on the patch embeddings of SEKD, for one stage.

    The tokens are laid out as the map they are. The loss has two terms, both means
    over all entries and the batch:

    * *Structure*: the squared differences of each of ``levels`` Laplacian levels
      and of the rest, summed. A level is a map minus its blur (5x5 Gaussian of
      sigma 1, zeros around the map); its blur, averaged over blocks of 2x2, goes
      on to the next. A side of one pixel stays.
    * *Texture*: the squared difference of patches of 4x4 pixels (stride 2, two
      zeros around the map), of which each channel is standardised on its own: minus
      its mean, divided by its unbiased deviation + ``eps``.

    SEKD averages over the four stages: give each pair a quarter of the weight.

    Args:
        loss_weight (float): Factor of the loss. Defaults to 1. SEKD has 1, thus
            0.25 for each of four stages.
        levels (int): Laplacian levels before the rest, 0 or more. Defaults to 2.
        eps (float): Added to the deviation of a patch; a constant one becomes all
            zero. Defaults to 1e-6.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if these
            are no tokens, are not square and their size is not given, or have
            different numbers of images or channels.

    Example:
        >>> loss = TextureLoss(loss_weight=0.25)
        >>> student = torch.rand(2, 28 * 28, 64, requires_grad=True)
        >>> loss(student, torch.rand(2, 56 * 56, 64)).shape
        torch.Size([])
        >>> wide = torch.rand(2, 8 * 16, 64)
        >>> loss(wide, wide, size_S=(8, 16), size_T=(8, 16))
        tensor(0.)
    """

    def __init__(self, loss_weight: float = 1.0, levels: int = 2, eps: float = 1e-6):
        super().__init__()
        if levels < 0:
            raise ValueError(f'levels must be 0 or more, got {levels}')
        if eps <= 0:
            raise ValueError(f'eps must be above 0, got {eps}')
        self.loss_weight = loss_weight
        self.levels = levels
        self.eps = eps

    @staticmethod
    def blur(feature: Tensor) -> Tensor:
        """(N, C, H, W) -> the same, by a 5x5 Gaussian of sigma 1."""
        channels = feature.shape[1]
        place = torch.arange(-2, 3, dtype=feature.dtype, device=feature.device)
        weights = (-place.square() / 2).exp()
        weights = (weights / weights.sum()).expand(channels, 1, 1, 5)
        feature = F.conv2d(feature, weights, padding=(0, 2), groups=channels)
        return F.conv2d(feature, weights.mT, padding=(2, 0), groups=channels)

    def structure(self, difference: Tensor) -> Tensor:
        """(N, C, H, W), student minus teacher -> the first term.

        Each level is linear, so that of the difference is the difference.
        """
        loss = 0
        for _ in range(self.levels):
            blurred = self.blur(difference)
            loss = loss + (difference - blurred).square().mean()
            block = [min(2, side) for side in difference.shape[2:]]
            difference = F.avg_pool2d(blurred, block)
        return loss + difference.square().mean()

    def standardised(self, feature: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, h, w, 16), h x w patches of mean 0, deviation 1."""
        patches = F.pad(feature, (2, 2, 2, 2)).unfold(2, 4, 2).unfold(3, 4, 2)
        # one patch beside the other in memory: three times as fast on a CPU
        patches = patches.flatten(4).contiguous()
        patches = patches - patches.mean(-1, keepdim=True)
        # a norm, for its gradient where all are zero is zero
        norm = torch.linalg.vector_norm(patches, dim=-1, keepdim=True)
        return patches / (norm / 15**0.5 + self.eps)

    def forward(
        self,
        preds_S: Tensor,
        preds_T: Tensor,
        size_S: tuple[int, int] | None = None,
        size_T: tuple[int, int] | None = None,
    ) -> Tensor:
        """Compute the loss.

        Args:
            preds_S (Tensor): The student's tokens, (N, HW, C), raised to the
                teacher's channels by a connector.
            preds_T (Tensor): The teacher's tokens, (N, H'W', C). No gradient
                reaches them.
            size_S (tuple[int, int], optional): (H, W). Defaults to None: H = W.
            size_T (tuple[int, int], optional): (H', W'). Defaults to None: H' = W'.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 tokens).
        """
        with full_precision(preds_S, preds_T) as (student, teacher):
            student = tokens_to_map(student, size_S)
            teacher = tokens_to_map(teacher, size_T)
            teacher = to_student_size(student, teacher)
            loss = self.structure(student - teacher)
            loss = loss + F.mse_loss(
                self.standardised(student), self.standardised(teacher)
            )
        return self.loss_weight * loss

    def extra_repr(self) -> str:
        return f'loss_weight={self.loss_weight}, levels={self.levels}, eps={self.eps}'
