"""The global generators go back to where they were, by way of a plain file."""

import random

import numpy as np
import torch

from fastsegformer_mm.engine.non_finite.random_state import RandomState


def test_random_states(tmp_path, nothing_allowed):
    def draw():
        return (random.random(), random.gauss(0, 1), np.random.rand(),
                np.random.randn(), torch.rand(1).item(), torch.randn(1).item())

    draw()  # an odd number of normal ones: the second of a pair waits
    state = RandomState()
    expected = draw() + draw()
    torch.save(state.plain(), tmp_path / 'f.pth')
    RandomState.restore(torch.load(tmp_path / 'f.pth', weights_only=True))
    assert draw() + draw() == expected
    assert len(set(expected)) == 12
