"""A loss that is NaN or infinite: what it came from, and to compute it again."""

from .diagnosis import NonFiniteLossError

__all__ = ['NonFiniteLossError']
