"""A network recorded as CUDA graphs."""

import torch
from torch import Tensor, nn

from .size_cache import SizeCache

# runs before recording, in which libraries choose kernels and take their memory
WARM_UPS = 3


class Recording:
    """One graph: buffers that stay where they are, and the kernels between them.

    A graph replays kernels with the addresses they were recorded with. So the image
    is copied into the buffer that the network was recorded on, by way of pinned
    memory, from which the GPU fetches it by itself; and the output is copied out of
    the buffer that the recording left it in.

    Args:
        network (nn.Module): On a GPU.
        shape (tuple[int]): Of the input.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...]):
        parameter = next(network.parameters())
        self.device = parameter.device
        self.pinned = torch.empty(shape, pin_memory=True)
        self.staged = torch.zeros(shape, device=self.device)
        self.stream = torch.cuda.Stream(self.device)
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UPS):
                network(self.staged.to(parameter.dtype)).float()
        self.stream.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            # the change of type is recorded with it
            self.output = network(self.staged.to(parameter.dtype)).float()
        self.fetched = torch.empty(self.output.shape, pin_memory=True)

    def __call__(self, image: Tensor) -> Tensor:
        """Float32 image on the CPU -> float32 output there, written again next time."""
        self.pinned.copy_(image)
        with torch.cuda.stream(self.stream):
            self.staged.copy_(self.pinned, non_blocking=True)
            self.graph.replay()
            self.fetched.copy_(self.output, non_blocking=True)
        self.stream.synchronize()
        return self.fetched


class CudaGraphs:
    """A network on a GPU, recorded once for each size of input and replayed.

    Tested only where a GPU is, but for what does not need one.

    Args:
        network (nn.Module): On a GPU, in evaluation mode.
        record (Callable, optional): From network and shape to what runs images of
            that shape. Defaults to :class:`Recording`.
    """

    def __init__(self, network: nn.Module, record=Recording):
        # graphs hold their memory: a few sizes, not all of a folder of photographs
        self._recordings = SizeCache(lambda shape: record(network, shape))

    def __call__(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) float32 on the CPU -> float32 there."""
        return self._recordings(tuple(image.shape))(image)
