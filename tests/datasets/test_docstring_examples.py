"""The examples in the docstrings of data sets and transforms run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize('module', [
    'navel_orange', 'neu_seg', 'transforms.letter_box',
    'transforms.random_scale_paste', 'transforms.random_hsv'])
def test_examples(module):
    module = importlib.import_module(f'fastsegformer_mm.datasets.{module}')
    result = doctest.testmod(module)
    assert result.attempted >= 3
    assert result.failed == 0
