"""What surrounds a training: hooks, and the safe reader of checkpoints."""

from . import hooks

__all__ = ['hooks']
