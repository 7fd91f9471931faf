"""Automatic mixed precision on a CPU."""

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class CPUAmpOptimWrapper(OptimWrapper):
    """Train on a CPU in bfloat16, by autocast.

    MMEngine's AmpOptimWrapper refuses a CPU. Weights, their gradients and the
    optimizer stay float32, and bfloat16 has float32's range, so no loss is scaled.

    Without instructions for bfloat16 PyTorch emulates it and is several times
    slower than in float32: ``type='AutoAmpOptimWrapper'`` takes this wrapper only
    where it is faster.

    Args: as :class:`mmengine.optim.OptimWrapper`.

    Example:
        >>> weight = nn.Parameter(torch.ones(2, 2))
        >>> wrapper = CPUAmpOptimWrapper(torch.optim.SGD([weight], lr=0.1))
        >>> with wrapper.optim_context(nn.Identity()):
        ...     (weight @ weight).dtype
        torch.bfloat16
    """

    @contextmanager
    def optim_context(self, model: nn.Module):
        """Autocast to bfloat16, and what :class:`OptimWrapper` does."""
        with super().optim_context(model), torch.autocast('cpu', torch.bfloat16):
            yield
