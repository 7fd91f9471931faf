"""Hooks, and what checkpoints may hold."""

from . import hooks
from .safe_globals import allow_mmengine_checkpoints

allow_mmengine_checkpoints()

__all__ = ['hooks']
