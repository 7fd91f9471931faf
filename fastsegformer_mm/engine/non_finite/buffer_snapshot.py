"""A copy of a model's buffers, to go back to."""

import torch
from torch import nn


class BufferSnapshot:
    """Remember a model's buffers, and put them back to the bit.

    A forward pass in training mode changes them, above all the running statistics
    of BatchNorm, which one image with NaN spoils for good.

    All buffers of a kind are copied by one ``torch.cat``: a GPU gets a few kernels
    to launch and not hundreds, and waits for nothing.

    Args:
        model (nn.Module): Its modules are looked for now; buffers which they get or
            exchange later are followed.

    Example:
        >>> snapshot = BufferSnapshot(norm := nn.BatchNorm2d(3))
        >>> snapshot.take()
        >>> _ = norm(torch.randn(2, 3, 4, 4))
        >>> snapshot.restore()
        >>> norm.running_mean
        tensor([0., 0., 0.])
    """

    def __init__(self, model: nn.Module) -> None:
        # dictionaries: walking through all modules each time would take as long as
        # the copies do
        self._owners = [m._buffers for m in model.modules() if m._buffers]
        self._held = []
        self._copies = []

    def take(self) -> None:
        """Copy the buffers as they are now."""
        self._held = [dict(owner) for owner in self._owners]
        kinds = {}
        for held in self._held:
            for buffer in held.values():
                if buffer is not None:
                    kind = buffer.device, buffer.dtype
                    kinds.setdefault(kind, []).append(buffer)
        self._copies = [
            (buffers, torch.cat([b.detach().reshape(-1) for b in buffers]))
            for buffers in kinds.values()
        ]

    @torch.no_grad()
    def restore(self) -> None:
        """Put back what :meth:`take` has copied; nothing without one."""
        for buffers, flat in self._copies:
            parts = flat.split([b.numel() for b in buffers])
            for buffer, part in zip(buffers, parts):
                buffer.copy_(part.view(buffer.shape))
        # a forward pass may have put other tensors in their place
        for owner, held in zip(self._owners, self._held):
            owner.clear()
            owner.update(held)
