"""Eager PyTorch, on a GPU replayed as a CUDA graph."""

import contextlib

import numpy as np
import torch

from ..errors import DeployError
from .base import Backend
from .cuda_graph import CudaGraphs

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class TorchBackend(Backend):
    """Runs a network in PyTorch.

    On the CPU operation by operation, as it was trained: what other runtimes are
    compared with. On a GPU the launch of some hundred small kernels would take
    longer than they do, so that they are recorded once for each size of input and
    replayed (:class:`~.cuda_graph.CudaGraphs`).

    Args:
        network (nn.Module): From the normalised image to the logits. It is moved
            and, with half precision, changed.
        device (str): 'cpu' or 'cuda:N'. Defaults to 'cpu'.
        precision (str): 'fp32', 'bf16' or, on a GPU, 'fp16'. Defaults to 'fp32', in
            which TensorFloat-32 is not used.
        threads (int, optional): CPU threads, of PyTorch as a whole. Defaults to
            None, PyTorch's number.

    Raises:
        DeployError: There is no such precision here.
    """

    name = 'torch'

    def __init__(
        self, network, device='cpu', precision='fp32', threads: int | None = None
    ):
        if precision not in DTYPES or (device, precision) == ('cpu', 'fp16'):
            expected = "'fp32' or 'bf16'" if device == 'cpu' else sorted(DTYPES)
            raise DeployError(
                f'precision={precision!r} of the backend {self.name!r} on {device}; '
                f'expected {expected}. For int8 export the model with '
                'tools/deployment/export.py --precision int8'
            )
        super().__init__(device, precision, threads or torch.get_num_threads())
        self._dtype = DTYPES[precision]
        network = network.to(self.device, self._dtype).eval()
        self._network = self._prepared(network)

    def _prepared(self, network):
        """What is called with (1, 3, H, W) of the network's type and device."""
        return network if self.device == 'cpu' else CudaGraphs(network)

    @torch.inference_mode()
    def infer(self, image: np.ndarray, slot: int = 0) -> np.ndarray:
        """(N, 3, H, W) float32 -> logits (N, C, H, W) float32."""
        image = torch.from_numpy(image)
        if self._dtype != torch.float32 and self.device == 'cpu':
            image = image.to(self._dtype)
        with self._library():
            out = self._network(image)
        return out.float().cpu().numpy()

    def _library(self):
        """cuDNN as it is to be: left alone, it rounds float32 to 10 bits."""
        if self.device == 'cpu':
            return contextlib.nullcontext()
        return torch.backends.cudnn.flags(
            enabled=True, benchmark=True, allow_tf32=False
        )

    def precisions(self) -> tuple[str, ...]:
        """See the base class."""
        on_cpu = ('fp32', 'bf16')
        return on_cpu if self.device == 'cpu' else (*on_cpu, 'fp16')

    def versions(self) -> dict[str, str]:
        """See the base class."""
        found = {'torch': torch.__version__}
        if self.device != 'cpu':
            found['cuda'] = torch.version.cuda
        return found

    def close(self) -> None:
        """See the base class."""
        self._network = None
