"""Hooks, and what checkpoints may hold."""

from . import hooks
from .checkpoint.local_backend import install_atomic_writes
from .checkpoint import schemes
from .cpu_distributed import allow_cpu_launchers

schemes.install()
allow_cpu_launchers()
install_atomic_writes()

__all__ = ['hooks']
