"""Optimizer wrappers."""

from .auto_amp import auto_amp_optim_wrapper
from .cpu_amp_optim_wrapper import CPUAmpOptimWrapper

__all__ = ['CPUAmpOptimWrapper', 'auto_amp_optim_wrapper']
