"""Hooks, and what checkpoints may hold."""

from . import hooks, wrap_policy
from .checkpoint import schemes
from .checkpoint.local_backend import install_atomic_writes
from .cpu_distributed import allow_cpu_launchers
from .restarted_job import rejoin_after_restart

schemes.install()
allow_cpu_launchers()
rejoin_after_restart()
install_atomic_writes()

__all__ = ['hooks', 'wrap_policy']
