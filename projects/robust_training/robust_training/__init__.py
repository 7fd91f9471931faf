"""Whole, safe checkpoints and restarted jobs for trainings with MMEngine.

Importing it replaces parts of MMEngine in the process that imports it; nothing else
does. A config does it by
``custom_imports = dict(imports=['fastsegformer_mm', 'robust_training'])``:

* every checkpoint is read by ``fastsegformer_mm``'s safe reader (:mod:`.schemes`),
* every local file is written whole or not at all (:mod:`.local_backend`),
* ``--launcher`` works on a machine without a GPU (:mod:`.cpu_launchers`),
* the processes that torchrun restarts find each other (:mod:`.restarted_job`).
"""

from .cpu_launchers import allow_cpu_launchers
from .local_backend import install_atomic_writes
from .restarted_job import rejoin_after_restart
from .schemes import install_loaders

install_loaders()
install_atomic_writes()
allow_cpu_launchers()
rejoin_after_restart()

__all__ = [
    'allow_cpu_launchers',
    'install_atomic_writes',
    'install_loaders',
    'rejoin_after_restart',
]
