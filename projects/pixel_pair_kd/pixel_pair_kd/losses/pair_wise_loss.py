"""The loss on how alike the pixels of an encoder's map are."""

from collections.abc import Sequence

from mmrazor.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from fastsegformer_mm.distillation.losses.alignment import (
    full_precision,
    to_student_size,
)

from .similarity import by_gram, by_rows, cheaper

POOLS = {'avg': F.avg_pool2d, 'max': F.max_pool2d}
WAYS = ('auto', 'rows', 'gram')


@MODELS.register_module()
class PairWiseLoss(nn.Module):
    r"""Pair-wise distillation: which pixels are alike in the teacher's eyes.

    From `Structured Knowledge Distillation for Semantic Segmentation
    <https://arxiv.org/abs/1903.04197>`_, as used on the encoder's last map by
    `Knowledge Distillation in Semantic Segmentation
    <https://github.com/AmirMansurian/AICSD>`_. With the teacher's map at the
    student's size, and both pooled to N nodes :math:`f_i`:

    .. math::

        L = \frac{1}{N^2} \sum_{i,j} (a^s_{ij} - a^t_{ij})^2, \quad
        a_{ij} = \frac{f_i^T f_j}{\|f_i\| \|f_j\|}

    per image, averaged over the batch. Similarities have no channels, so that
    student and teacher may have different ones, and no connector is needed.

    The N x N matrices, which grow with the fourth power of the side, are never
    held; see :mod:`~pixel_pair_kd.losses.similarity` for the two ways round them.

    Args:
        loss_weight (float): Factor of the loss. Defaults to 1, as published.
        node_size (int | tuple[int, int]): Pixels of a node, (height, width). An
            incomplete one at the lower or right border counts as one. Defaults
            to 1: each pixel is a node.
        pool (str): ``'avg'`` or ``'max'``: what a node takes of its pixels.
            Defaults to ``'avg'``, as in the paper; the published code has ``'max'``
            over half the side (of a map of 33x33: ``node_size=16``).
        mode (str): ``'paper'``, the gradient of the formula, or ``'code'``, the
            published code's, for which :math:`\|f_i\|` is a constant. The value
            is the same. Defaults to ``'paper'``.
        way (str): ``'rows'``: the matrix is gone through by rows; ``'gram'``:
            products of channels instead, in float64, which is cheaper for large
            maps of few channels (but slow on a GPU made for games); ``'auto'``:
            which of the two needs fewer multiplications. Defaults to ``'auto'``.
        rows (int): How many of the matrix's rows ``'rows'`` has in memory at once.
            Defaults to 256.
        eps (float): Added to the square of a node's length: the similarities of a
            node that is all zero are zero. Defaults to 1e-6.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if the
            two are no maps of as many images.

    Example:
        >>> import torch
        >>> loss = PairWiseLoss(node_size=2, pool='max')
        >>> student = torch.rand(2, 8, 28, 28, requires_grad=True)
        >>> loss(student, torch.rand(2, 16, 56, 56)).shape
        torch.Size([])
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        node_size: int | Sequence[int] = 1,
        pool: str = 'avg',
        mode: str = 'paper',
        way: str = 'auto',
        rows: int = 256,
        eps: float = 1e-6,
    ):
        super().__init__()
        for name, value, known in (
            ('pool', pool, tuple(POOLS)),
            ('mode', mode, ('paper', 'code')),
            ('way', way, WAYS),
        ):
            if value not in known:
                expected = ' or '.join(map(repr, known))
                raise ValueError(f'{name} must be {expected}, got {value!r}')
        pair = (
            tuple(node_size) if isinstance(node_size, Sequence) else (node_size,) * 2
        )
        if len(pair) != 2 or not all(isinstance(n, int) and n > 0 for n in pair):
            raise ValueError(
                f'node_size={node_size!r}: expected a number of pixels, or '
                '(height, width), from 1'
            )
        if rows < 1:
            raise ValueError(f'rows must be 1 or more, got {rows}')
        if eps <= 0:
            raise ValueError(f'eps must be above 0, got {eps}')
        self.loss_weight = loss_weight
        self.node_size = pair
        self.pool = pool
        self.mode = mode
        self.way = way
        self.rows = rows
        self.eps = eps

    def nodes(self, feature: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, N, C), each node of length 1."""
        if self.node_size != (1, 1):
            feature = POOLS[self.pool](feature, self.node_size, ceil_mode=True)
        feature = feature.flatten(2).mT
        scale = (feature.square().sum(2, keepdim=True) + self.eps).rsqrt()
        return feature * (scale.detach() if self.mode == 'code' else scale)

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            preds_S (Tensor): The student's map, (B, Cs, H, W).
            preds_T (Tensor): The teacher's map, (B, Ct, H', W'). No gradient
                reaches it.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 maps).
        """
        with full_precision(preds_S, preds_T) as (student, teacher):
            teacher = to_student_size(student, teacher, None)
            student, teacher = self.nodes(student), self.nodes(teacher)
            images, count, channels = student.shape
            way = self.way
            if way == 'auto':
                way = cheaper(count, channels, teacher.shape[2])
            if way == 'gram':
                total = by_gram(student, teacher).to(student.dtype)
            else:
                total = by_rows(student, teacher, self.rows)
            return self.loss_weight * total / (images * count**2)

    def extra_repr(self) -> str:
        return (
            f'loss_weight={self.loss_weight}, node_size={self.node_size}, '
            f'pool={self.pool!r}, mode={self.mode!r}, way={self.way!r}, '
            f'rows={self.rows}, eps={self.eps}'
        )
