"""The ways in which a checkpoint is kept from running code."""

import pytest

from fastsegformer_mm.engine.checkpoint import safe_globals

# torch has an allow-list of its own from 2.6 on
WAYS = ['torch', 'own'] if safe_globals.TORCH_HAS_ALLOW_LIST else ['own']


@pytest.fixture(params=WAYS)
def allow_list(request, monkeypatch):
    """torch's allow-list where it has one, and the restricted unpickler."""
    if request.param == 'own':
        monkeypatch.setattr(safe_globals, 'TORCH_HAS_ALLOW_LIST', False)
    return request.param
