"""Several processes: without a GPU, restarted, and with the model sharded."""

from .cpu_launchers import allow_cpu_launchers
from .restarted_job import rejoin_after_restart
from .wrap_policy import segmentor_wrap_policy

__all__ = ['allow_cpu_launchers', 'rejoin_after_restart', 'segmentor_wrap_policy']
