"""The examples in the docstrings of data sets and transforms run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize(('module', 'least'), [
    ('navel_orange', 3), ('neu_seg', 3), ('partly_labelled', 2),
    ('partly_labelled_sampler', 1), ('unlabelled', 2), ('transforms.letter_box', 3),
    ('transforms.load_ignored_annotations', 2), ('transforms.random_scale_paste', 3),
    ('transforms.random_hsv', 3)])
def test_examples(module, least):
    module = importlib.import_module(f'fastsegformer_mm.datasets.{module}')
    result = doctest.testmod(module)
    assert result.attempted >= least
    assert result.failed == 0
