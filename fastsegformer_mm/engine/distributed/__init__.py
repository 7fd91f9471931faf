"""Several processes: which parts of a model are sharded."""

from .wrap_policy import segmentor_wrap_policy

__all__ = ['segmentor_wrap_policy']
