from .sekd_adapter import SEKDAdapter

__all__ = ['SEKDAdapter']
