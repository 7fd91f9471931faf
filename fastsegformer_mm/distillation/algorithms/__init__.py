from .multi_resolution_distill import MultiResolutionDistill

__all__ = ['MultiResolutionDistill']
