"""The examples in the docstrings of SEKD's parts run."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize('module', [
    'random_window',
    'connectors.cbam',
    'connectors.sekd_adapter',
    'losses.context_alignment_loss',
    'losses.masked_reconstruction_loss',
    'losses.scaled_alignment_loss',
    'losses.texture_loss'])
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f'sekd.{module}'))
    assert result.attempted >= 1
    assert result.failed == 0
