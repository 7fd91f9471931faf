"""KL divergence of standardised logits in which every class counts the same."""

import torch
import torch.nn.functional as F
from mmrazor.registry import MODELS
from torch import Tensor, nn

from .alignment import full_precision, labels_to_size, to_student_size


@MODELS.register_module()
class StandardizedKLLoss(nn.Module):
    r"""KL divergence of standardised logits, weighted by class and by the label.

    With :math:`z_s, z_t` the standardised logits of student and teacher, the
    teacher's at the student's size, and :math:`q = softmax(z / \tau)`:

    .. math::

        L = \tau^2 \, \frac{\sum_i b_i \, w_i \, KL(q^t_i \,\|\, q^s_i)}{\sum_i b_i},
        \qquad b_i = n_{c(i)}^{-\beta}

    over all pixels :math:`i` of the batch. Each part is an option:

    - ``standardize``: the z-score of each pixel's logits over the classes, so that a
      student learns which classes are near and not how large the teacher's logits
      are: `Logit Standardization in Knowledge Distillation
      <https://arxiv.org/abs/2403.01427>`_ (Sun et al., CVPR 2024), with the paper's
      population deviation. Its code takes the unbiased one, which equals a ``tau``
      that is :math:`\sqrt{C / (C - 1)}` times as large.
    - ``balance_classes`` (:math:`\beta`): :math:`c(i)` is the pixel's label or, where
      there is none, the teacher's class, and :math:`n_c` the number of its pixels.
      1 is the mean within each class and then over the classes present, so that a
      background of 97 % counts as much as any defect; 0 is the mean over the pixels.
    - ``weigh_labelled``: :math:`w_i` is the teacher's probability of the true class
      where there is a label. It is no part of the normaliser: a class that the teacher
      gets wrong counts less.
    - ``weigh_unlabelled``: :math:`w_i` is the teacher's largest probability where
      there is none; otherwise 1.

    Both probabilities are those of the logits as they are, at temperature 1.

    The z-score of two logits is always (-1, 1) and says nothing but which is larger.
    Of two classes only the mean is therefore taken away in each pixel, and the
    deviation is that of the whole image. One channel (a sigmoid) is compared as the
    two logits :math:`(0, s)` and :math:`(0, t)`.

    Args:
        tau (float): Temperature, > 0; the loss is multiplied by its square. Defaults
            to 2, the paper's.
        standardize (bool): Defaults to True.
        balance_classes (float): Exponent in [0, 1]. Defaults to 1.
        weigh_labelled (bool): Defaults to True.
        weigh_unlabelled (bool): Defaults to False.
        ignore_index (int): Value of a label that is none. Defaults to 255.
        eps (float): Added to the variance of the logits: constant logits become all
            zero, and the gradient of nearly constant ones is at most ``eps ** -0.5``
            times as large. Defaults to 1e-6.
        loss_weight (float): Factor of the whole. Defaults to 1.

    Raises:
        ValueError: An argument is out of its range; at the forward pass, if the
            two have different numbers of images or classes, or the labels are those
            of other images.

    Example:
        The labels are what the student's own loss is given, as its second argument:

        >>> recorders = dict(
        ...     logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'),
        ...     labels=dict(type='ModuleInputs', source='decode_head.loss_decode'))
        >>> mapping = dict(
        ...     preds_S=dict(from_student=True, recorder='logits'),
        ...     preds_T=dict(from_student=False, recorder='logits'),
        ...     labels=dict(from_student=True, recorder='labels', data_idx=1))

        >>> loss = StandardizedKLLoss()
        >>> logits = torch.rand(2, 4, 56, 56, requires_grad=True)
        >>> labels = torch.randint(4, (2, 128, 128))
        >>> loss(logits, torch.rand(2, 4, 128, 128), labels).shape
        torch.Size([])
    """

    def __init__(
        self,
        tau: float = 2.0,
        standardize: bool = True,
        balance_classes: float = 1.0,
        weigh_labelled: bool = True,
        weigh_unlabelled: bool = False,
        ignore_index: int = 255,
        eps: float = 1e-6,
        loss_weight: float = 1.0,
    ):
        super().__init__()
        for name, value in (('tau', tau), ('eps', eps)):
            if value <= 0:
                raise ValueError(f'{name} must be above 0, got {value}')
        if not 0 <= balance_classes <= 1:
            raise ValueError(
                f'balance_classes must be in [0, 1], got {balance_classes}'
            )
        self.tau = tau
        self.standardize = standardize
        self.balance_classes = float(balance_classes)
        self.weigh_labelled = weigh_labelled
        self.weigh_unlabelled = weigh_unlabelled
        self.ignore_index = ignore_index
        self.eps = eps
        self.loss_weight = loss_weight

    def forward(
        self, preds_S: Tensor, preds_T: Tensor, labels: Tensor | None = None
    ) -> Tensor:
        """Compute the loss.

        Args:
            preds_S (Tensor): The student's logits, (N, C, H, W); C may be 1.
            preds_T (Tensor): The teacher's logits, (N, C, H', W'). No gradient
                reaches them. Resized bilinearly to the student's.
            labels (Tensor, optional): Classes, (N, H'', W'') or (N, 1, H'', W''); of
                each of the student's pixels the nearest is taken. Defaults to None:
                no pixel has a label.

        Returns:
            Tensor: A scalar, float32 (float64 for float64 logits).
        """
        with full_precision(preds_S, preds_T) as (student, teacher):
            teacher = to_student_size(student, teacher, 'classes')
            if labels is not None:
                labels = labels_to_size(labels, student)
            if student.shape[1] == 1:
                # a sigmoid: the other class has the logit 0
                student, teacher = (
                    F.pad(x, (0, 0, 0, 0, 1, 0)) for x in (student, teacher)
                )
            log_q_s, log_q_t = self._log_q(student), self._log_q(teacher)
            kl = (log_q_t.exp() * (log_q_t - log_q_s)).sum(1)
            loss = self.tau**2 * (kl * self._pixel_weights(teacher, labels)).sum()
        return self.loss_weight * loss

    def _log_q(self, logits: Tensor) -> Tensor:
        """(N, C, H, W) -> logarithms of the classes' probabilities."""
        if self.standardize:
            var, mean = torch.var_mean(logits, 1, correction=0, keepdim=True)
            if logits.shape[1] == 2:
                var = var.mean((2, 3), keepdim=True)
            logits = (logits - mean) * (var + self.eps).rsqrt()
        return (logits / self.tau).log_softmax(1)

    def _pixel_weights(self, teacher: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (N, C, H, W), labels (N, H, W) -> (N, H, W), b w / sum(b)."""
        probabilities = teacher.softmax(1)
        confidence, classes = probabilities.max(1)
        weights = torch.ones_like(confidence)
        unlabelled = torch.ones_like(classes, dtype=torch.bool)
        if labels is not None:
            unlabelled = labels == self.ignore_index
            classes = torch.where(unlabelled, classes, labels.to(classes))
            if self.weigh_labelled:
                true = probabilities.gather(1, classes[:, None])[:, 0]
                weights = torch.where(unlabelled, weights, true)
        if self.weigh_unlabelled:
            weights = torch.where(unlabelled, confidence, weights)
        counts = torch.bincount(classes.flatten(), minlength=teacher.shape[1])
        # a class without pixels is never looked up
        balance = counts.clamp(min=1).to(weights).pow(-self.balance_classes)[classes]
        return weights * balance / balance.sum()

    def extra_repr(self) -> str:
        return (
            f'tau={self.tau}, standardize={self.standardize}, '
            f'balance_classes={self.balance_classes}, '
            f'weigh_labelled={self.weigh_labelled}, '
            f'weigh_unlabelled={self.weigh_unlabelled}, '
            f'loss_weight={self.loss_weight}'
        )
