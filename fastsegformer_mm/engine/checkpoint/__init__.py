"""Reading and writing checkpoints so that nothing wrong gets in."""

from .errors import CheckpointError

__all__ = ['CheckpointError']
