"""Reading and writing checkpoints so that nothing wrong gets in."""

from .errors import CheckpointError
from .read import read_checkpoint

__all__ = ['CheckpointError', 'read_checkpoint']
