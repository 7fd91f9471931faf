"""Buffers go back to the bit, whatever a forward pass does to them."""

import torch
from torch import nn

from fastsegformer_mm.engine.non_finite.buffer_snapshot import BufferSnapshot


class Odd(nn.Module):
    """Buffers of several kinds, and one that is put in another's place."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.register_buffer('none', None)
        self.register_buffer('flags', torch.tensor([[True, False], [False, True]]))
        self.register_buffer('wide', torch.arange(6, dtype=torch.float64).view(2, 3))
        self.register_buffer('strided', torch.arange(6.0).view(2, 3).t())
        self.register_buffer('hidden', torch.ones(1), persistent=False)

    def forward(self, x):
        self.flags.logical_not_()
        self.wide = self.wide * 2
        self.strided.mul_(3)
        self.none = torch.ones(1)
        self.hidden.fill_(float('nan'))
        self.register_buffer('new', torch.ones(1))
        return self.norm(x)


def test_puts_all_back():
    torch.manual_seed(0)
    model = Odd()
    model.norm(torch.randn(2, 2, 3, 3))
    before = {k: v.clone() for k, v in model.named_buffers()}
    objects = dict(model.named_buffers())
    snapshot = BufferSnapshot(model)
    snapshot.take()
    model(torch.full((2, 2, 3, 3), float('nan')))
    assert model.norm.running_mean.isnan().all()
    snapshot.restore()
    after = dict(model.named_buffers())
    assert list(after) == list(before)
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert all(after[k] is objects[k] for k in objects)
    assert after['norm.num_batches_tracked'] == 1
    assert model.none is None
    assert 'new' not in model._buffers
    # again, from the same copy
    model(torch.zeros(2, 2, 3, 3))
    snapshot.restore()
    assert all(torch.equal(dict(model.named_buffers())[k], before[k]) for k in before)


def test_takes_what_is_there_now():
    """A buffer that was exchanged between two copies."""
    norm = nn.BatchNorm2d(1)
    snapshot = BufferSnapshot(nn.Sequential(norm))
    snapshot.take()
    norm.running_mean = torch.tensor([5.0])
    snapshot.take()
    norm.running_mean.fill_(7.0)
    snapshot.restore()
    assert norm.running_mean.tolist() == [5.0]


def test_without_buffers():
    model = nn.Linear(1, 1)
    snapshot = BufferSnapshot(model)
    snapshot.restore()
    snapshot.take()
    snapshot.restore()
    assert not list(model.buffers())
