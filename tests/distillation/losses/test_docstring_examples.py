"""The examples in the docstrings of the losses run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize('module', [
    'nfd_loss', 'pkl_loss', 'resize_teacher_loss', 'standardized_kl_loss'
])
def test_examples(module):
    module = importlib.import_module(f'fastsegformer_mm.distillation.losses.{module}')
    result = doctest.testmod(module)
    assert result.attempted >= 2
    assert result.failed == 0
