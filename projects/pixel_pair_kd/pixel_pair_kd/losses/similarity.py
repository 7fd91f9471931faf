"""How far two similarity matrices are apart, without holding either."""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _RowBlocks(torch.autograd.Function):
    """Rows by rows; the gradient is made along with the value.

    Nothing of size N x N is kept for the backward pass: the gradient of a sum of
    squares is linear in the block at hand, so it is summed up while that is there.
    """

    @staticmethod
    def forward(ctx, student, teacher, rows):
        total = student.new_zeros(())
        gradient = torch.zeros_like(student) if ctx.needs_input_grad[0] else None
        for start in range(0, student.shape[1], rows):
            own = slice(start, start + rows)
            # the matrices are symmetric: what is left of the diagonal block has
            # been seen from the other side
            rest = student[:, start:]
            block = student[:, own] @ rest.mT
            block.baddbmm_(teacher[:, own], teacher[:, start:].mT, alpha=-1)
            size = block.shape[1]
            left, right = block[..., :size], block[..., size:]
            total += left.square().sum() + 2 * right.square().sum()
            if gradient is not None:
                gradient[:, own] += block @ rest
                gradient[:, start + size:] += right.mT @ student[:, own]
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        (gradient,) = ctx.saved_tensors
        return 4 * grad_output * gradient, None, None


def by_rows(student: Tensor, teacher: Tensor, rows: int = 256) -> Tensor:
    r""":math:`\|S S^T - T T^T\|_F^2`, summed over the batch, by blocks of rows.

    Needs :math:`N (N / 2) (3 C_s + C_t)` multiplications with the gradient, and
    memory for ``rows`` x N values an image. Differences are taken entry by entry, so
    that nothing cancels.

    Args:
        student (Tensor): S, (B, N, Cs).
        teacher (Tensor): T, (B, N, Ct). No gradient reaches it.
        rows (int): Rows of the matrix in memory at once. Defaults to 256.

    Returns:
        Tensor: A scalar of the same type. Its gradient has no gradient.

    Example:
        >>> student = torch.eye(2)[None]
        >>> by_rows(student, torch.ones(1, 2, 1))
        tensor(2.)
    """
    return _RowBlocks.apply(student, teacher.detach(), rows)


def by_gram(student: Tensor, teacher: Tensor) -> Tensor:
    r"""The same as :math:`\|S^T S\|^2 - 2 \|S^T T\|^2 + \|T^T T\|^2`.

    Needs :math:`N (3 C_s^2 + 2 C_s C_t + C_t^2)` multiplications with the gradient,
    and no matrix of N x N at all. The three terms cancel where the two are alike,
    so they are computed in float64; in float32 a loss below about 1e-6 of a
    term is rounding.

    Args:
        student (Tensor): S, (B, N, Cs).
        teacher (Tensor): T, (B, N, Ct). No gradient reaches it.

    Returns:
        Tensor: A scalar, float64, at least 0.

    Example:
        >>> student = torch.eye(2)[None]
        >>> by_gram(student, torch.ones(1, 2, 1))
        tensor(2., dtype=torch.float64)
    """
    student, teacher = student.double(), teacher.detach().double()
    total = (
        (student.mT @ student).square().sum()
        - 2 * (student.mT @ teacher).square().sum()
        + (teacher.mT @ teacher).square().sum()
    )
    # what is left of the rounding of equal ones
    return total.clamp(min=0)


def cheaper(nodes: int, student_channels: int, teacher_channels: int) -> str:
    """Which of the two needs less, a multiplication in float64 counted twice.

    Args:
        nodes (int): N.
        student_channels (int): Cs.
        teacher_channels (int): Ct.

    Returns:
        str: 'rows' or 'gram'.

    Example:
        >>> cheaper(33 * 33, 512, 2048), cheaper(129 * 129, 256, 256)
        ('rows', 'gram')
    """
    s, t = student_channels, teacher_channels
    rows = nodes * (3 * s + t) / 2
    gram = 2 * (3 * s * s + 2 * s * t + t * t)
    return 'gram' if gram < rows else 'rows'
