"""Synthetic navel oranges: photograph-like images with labelled defects.

Needs NumPy, OpenCV and Pillow only. Nothing in the package imports it; the tool
``tools/dataset_converters/make_synthetic_oranges.py`` and tests do.
"""
from .generator import CLASSES, make_sample, plan_set, split_sizes, write_set

__all__ = ['CLASSES', 'make_sample', 'plan_set', 'split_sizes', 'write_set']
