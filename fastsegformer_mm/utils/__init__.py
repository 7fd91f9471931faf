"""Measuring networks."""

from .complexity import Complexity, Part, inference_shape, measure
from .mac_counter import MacCounter

__all__ = ['Complexity', 'MacCounter', 'Part', 'inference_shape', 'measure']
