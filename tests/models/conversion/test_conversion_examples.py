"""The examples in the docstrings of the converter run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize('module', ['converter', 'network', 'recognition'])
def test_examples(module):
    module = importlib.import_module(f'fastsegformer_mm.models.conversion.{module}')
    result = doctest.testmod(module)
    assert result.attempted >= 2
    assert result.failed == 0
