"""Initial weights of a classifier that knows how rare its classes are."""

import math
from collections.abc import Sequence

from mmengine.model import NormalInit
from mmseg.registry import WEIGHT_INITIALIZERS
from torch import nn


@WEIGHT_INITIALIZERS.register_module('ClassPrior')
class ClassPriorInit(NormalInit):
    """Starts a softmax classifier at the shares of its classes.

    Defects cover a few percent of the pixels. A classifier that starts with equal
    classes spends its first hundreds of steps on saying "background", and bends
    all features towards that; with bias ``log(share)`` it says so from the start,
    and the first gradients are about the defects. After `Focal Loss for Dense
    Object Detection <https://arxiv.org/abs/1708.02002>`_, section 3.3, where the
    prior is that of a sigmoid.

    Args:
        prior (Sequence[float]): Share of the pixels of each class, each above 0;
            scaled to the sum 1. As many as the classifier has outputs.
        std (float): Standard deviation of the weights. Defaults to 0.01, as all
            heads of MMSegmentation have it.

    Raises:
        ValueError: If a share is not positive, or, when it is applied, if their
            number is not that of the outputs.

    Example:
        >>> from mmengine.model import initialize
        >>> conv = nn.Conv2d(8, 2, 1)
        >>> initialize(
        ...     conv, dict(type='mmseg.ClassPrior', prior=[9, 1], layer='Conv2d'))
        >>> conv.bias.softmax(0)
        tensor([0.9000, 0.1000], grad_fn=<SoftmaxBackward0>)

        In the config of a head, whose ``default_scope`` is 'mmseg'::

            init_cfg=dict(
                type='Normal', std=0.01,
                override=dict(
                    name='conv_seg', type='ClassPrior', prior=[97, 1, 1, 1]))
    """

    def __init__(self, prior: Sequence[float], std: float = 0.01, **kwargs):
        if not prior or min(prior) <= 0:
            raise ValueError(
                f'prior={list(prior)}: every class needs a share above 0; give a '
                'class that is absent a small one, such as 0.001'
            )
        super().__init__(std=std, **kwargs)
        self.prior = prior

    def __call__(self, module: nn.Module) -> None:
        """Fill ``module``, or the layers in it that ``layer`` names."""
        super().__call__(module)
        total = sum(self.prior)
        for layer in module.modules():
            name = type(layer).__name__
            if not (self.wholemodule or name in self.layer):
                continue
            bias = getattr(layer, 'bias', None)
            if bias is None:
                continue
            if len(bias) != len(self.prior):
                raise ValueError(
                    f'prior={list(self.prior)} has {len(self.prior)} shares, and the '
                    f'{name} has {len(bias)} outputs: give one share a class'
                )
            bias.data.copy_(bias.new_tensor([math.log(p / total) for p in self.prior]))
