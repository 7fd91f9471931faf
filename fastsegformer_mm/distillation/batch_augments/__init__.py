from .class_mix import ClassMix
from .cut_mix import CutMix

__all__ = ['ClassMix', 'CutMix']
