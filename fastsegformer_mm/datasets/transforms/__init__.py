"""Transforms: the official augmentation, and the letterbox."""

from .letter_box import LetterBox
from .load_ignored_annotations import LoadIgnoredAnnotations
from .random_hsv import RandomHSV
from .random_scale_paste import RandomScalePaste

__all__ = ['LetterBox', 'LoadIgnoredAnnotations', 'RandomHSV', 'RandomScalePaste']
