"""What a record may hold."""

import pytest
import torch


@pytest.fixture
def nothing_allowed():
    """No class that weights_only does not know by itself."""
    if not hasattr(torch.serialization, 'get_safe_globals'):
        # torch before 2.5: nothing can be allowed
        yield
        return
    known = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    yield
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(known)
