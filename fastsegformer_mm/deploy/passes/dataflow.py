"""What reads what: one forward pass, watched."""

from collections import Counter, defaultdict

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten


class Dataflow(TorchFunctionMode):
    """Which module puts out a map, and who reads it.

    A pass may only change what a layer puts out when it knows everybody who reads
    it. Module trees do not tell: a residual sum, a skip or a resize is a line in
    somebody's ``forward``. So the network runs once, and every operation on
    tensors is noted with the innermost module that it is part of.

    Args:
        network (nn.Module): In evaluation mode.
        example (Tensor): An input for it.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
        >>> flow = Dataflow(net, torch.rand(1, 3, 8, 8))
        >>> flow.only_reader(net[0]) is net[1], flow.readers(net[1])
        (True, ['output'])
    """

    OUTPUT = 'output'

    def __init__(self, network: nn.Module, example: Tensor):
        super().__init__()
        self._running = []
        self._written = defaultdict(list)
        self._read = defaultdict(list)
        self._alive = []  # an id is a tensor's own while the tensor lives
        self._parameters = Counter(
            id(parameter)
            for module in network.modules()
            for parameter in module._parameters.values()
            if parameter is not None
        )
        handles = []
        for module in network.modules():
            if not any(True for _ in module.children()):
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave))
        try:
            with torch.no_grad(), self:
                output = network(example)
        finally:
            for handle in handles:
                handle.remove()
        for tensor in _leaves(output):
            self._read[id(tensor)].append(self.OUTPUT)

    def _enter(self, module, inputs):
        self._running.append(module)

    def _leave(self, module, inputs, output):
        self._running.pop()
        self._written[module].append(output)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Run the operation and note which tensors it read."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        # a size, a type or a flag is no reading of values; None may be a writing
        if result is None or any(isinstance(r, Tensor) for r in _leaves(result)):
            reader = self._running[-1] if self._running else func
            for tensor in _leaves((args, kwargs)):
                if isinstance(tensor, Tensor):
                    self._alive.append(tensor)
                    self._read[id(tensor)].append(reader)
        return result

    def runs_once(self, module: nn.Module) -> bool:
        """Whether it ran once and shares no parameter with another module."""
        return len(self._written[module]) == 1 and all(
            self._parameters[id(parameter)] == 1
            for parameter in module._parameters.values()
            if parameter is not None
        )

    def readers(self, module: nn.Module) -> list:
        """Modules (or bare functions, or :attr:`OUTPUT`) that read its outputs."""
        return [
            reader
            for output in self._written[module]
            for tensor in _leaves(output)
            for reader in self._read[id(tensor)]
        ]

    def ran(self, module: nn.Module) -> bool:
        """Whether the forward pass came through it."""
        return bool(self._written[module])

    def output(self, module: nn.Module):
        """What it put out the first time."""
        return self._written[module][0]

    def only_reader(self, module: nn.Module):
        """The one that reads its one output, None when there are none or several."""
        readers = self.readers(module)
        return readers[0] if len(readers) == 1 and self.runs_once(module) else None


def _leaves(values):
    # torch before 2.2 has no tree_leaves
    return tree_flatten(values)[0]
