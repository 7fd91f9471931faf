"""What surrounds a training: hooks, checkpoints, random numbers, processes."""

from . import hooks
from .checkpoint import schemes
from .checkpoint.local_backend import install_atomic_writes
from .distributed import allow_cpu_launchers, rejoin_after_restart

schemes.install()
install_atomic_writes()
allow_cpu_launchers()
rejoin_after_restart()

__all__ = ['hooks']
