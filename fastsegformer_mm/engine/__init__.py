"""What surrounds a training: hooks, optimizer wrappers, reading of checkpoints."""

from . import hooks, optim

__all__ = ['hooks', 'optim']
