"""Transforms: the official augmentation, and the letterbox."""

from .letter_box import LetterBox
from .random_hsv import RandomHSV
from .random_scale_paste import RandomScalePaste

__all__ = ['LetterBox', 'RandomHSV', 'RandomScalePaste']
