"""The loss on logits of FastSegFormer."""

import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor, nn

from .alignment import full_precision, to_student_size


@MODELS.register_module()
class PKLLoss(nn.Module):
    r"""Pixel-wise and KL-divergence loss on logits (P&KL).

    From `FastSegFormer <https://doi.org/10.1016/j.compag.2023.108604>`_. With
    :math:`s, t` the logits of student and teacher, :math:`q = softmax(\cdot /
    \tau)` over the classes and the teacher's logits at the student's size
    :math:`W \times H`:

    .. math::

        L = \frac{1}{W H} \Big(k_1 \tau^2 \sum_i KL(q^t_i \,\|\, q^s_i)
            + (1 - k_1) \sum_i \frac{1}{C} \sum_c (s_{ic} - t_{ic})^2 \Big)

    summed over the pixels :math:`i` and averaged over the batch. No logarithm
    of a probability is taken (``log_softmax`` gives it directly), so no epsilon
    is needed: the loss is finite for all logits whose difference, squared, is.

    Of one channel (two classes and a sigmoid) the KL is that of the two Bernoulli
    distributions :math:`\sigma(t / \tau)` and :math:`\sigma(s / \tau)`, which is the
    formula for the logits :math:`(0, s)` and :math:`(0, t)`; :math:`C` stays 1.

    Args:
        tau (float): Temperature, > 0. Defaults to 2.
        k1 (float): Share of the KL term, in [0, 1]. Defaults to 0.5.
        loss_weight (float): Factor of the whole. Defaults to 1. The paper has
            0.5.
        mode (str): ``'paper'``, the formula, or ``'code'``, what the official
            training code computes: the pixel-wise term divided by W H once
            more, which at 224x224 leaves next to nothing of it. Defaults to
            ``'paper'``.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if the
            two have different numbers of images or classes.

    Example:
        >>> import torch
        >>> loss = PKLLoss(tau=2, k1=0.5, loss_weight=0.5)
        >>> student = torch.rand(2, 4, 56, 56, requires_grad=True)
        >>> loss(student, torch.rand(2, 4, 128, 128)).shape
        torch.Size([])
    """

    def __init__(
        self,
        tau: float = 2.0,
        k1: float = 0.5,
        loss_weight: float = 1.0,
        mode: str = 'paper',
    ):
        super().__init__()
        if tau <= 0:
            raise ValueError(f'tau must be above 0, got {tau}')
        if not 0 <= k1 <= 1:
            raise ValueError(f'k1 must be in [0, 1], got {k1}')
        if mode not in ('paper', 'code'):
            raise ValueError(f"mode must be 'paper' or 'code', got {mode!r}")
        self.tau = tau
        self.k1 = k1
        self.loss_weight = loss_weight
        self.mode = mode

    def forward(self, preds_S: Tensor, preds_T: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            preds_S (Tensor): The student's logits, (N, C, H, W); C may be 1.
            preds_T (Tensor): The teacher's logits, (N, C, H', W'). No gradient
                reaches them.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 logits).
        """
        with full_precision(preds_S, preds_T) as (student, teacher):
            teacher = to_student_size(student, teacher, 'classes')
            log_q_s, log_q_t = self._log_q(student), self._log_q(teacher)
            kl = (log_q_t.exp() * (log_q_t - log_q_s)).sum(1).mean()
            mse = (student - teacher).square().mean()
            if self.mode == 'code':
                mse = mse / student[0, 0].numel()
            loss = self.k1 * self.tau**2 * kl + (1 - self.k1) * mse
        return self.loss_weight * loss

    def _log_q(self, logits: Tensor) -> Tensor:
        """(N, C, H, W) -> logarithms of the classes' probabilities, at least two."""
        if logits.shape[1] == 1:
            # the other class has the logit 0
            logits = F.pad(logits, (0, 0, 0, 0, 1, 0))
        return (logits / self.tau).log_softmax(1)

    def extra_repr(self) -> str:
        return (
            f'tau={self.tau}, k1={self.k1}, loss_weight={self.loss_weight}, '
            f'mode={self.mode!r}'
        )
