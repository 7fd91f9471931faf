"""Transforms of MFF-Metal: signed distance maps of labels, and their packing."""

from .pack_distance_map import PackDistanceMap
from .signed_distance_map import SignedDistanceMap

__all__ = ['PackDistanceMap', 'SignedDistanceMap']
