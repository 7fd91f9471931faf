"""Hooks, and what checkpoints may hold."""

from . import hooks
from .cpu_distributed import allow_cpu_launchers
from .safe_globals import allow_mmengine_checkpoints

allow_mmengine_checkpoints()
allow_cpu_launchers()

__all__ = ['hooks']
