"""PyTorch's compiler."""

import torch

from ..errors import DeployError
from .torch_backend import TorchBackend


class CompileBackend(TorchBackend):
    """Runs a network by ``torch.compile``.

    On the CPU it needs a C++ compiler, on a GPU Triton, whose graphs it replays. The
    first image of a size takes the time of compiling, some ten seconds to a minute;
    so one of ``size`` is run at once.

    Args:
        network (nn.Module): See :class:`~.torch_backend.TorchBackend`.
        device (str): As there.
        precision (str): As there.
        threads (int, optional): As there.
        size (tuple[int]): Height and width to compile for. Defaults to (224, 224).

    Raises:
        DeployError: The network cannot be compiled here.
    """

    name = 'compile'

    def __init__(
        self, network, device='cpu', precision='fp32', threads=None, size=(224, 224)
    ):
        super().__init__(network, device, precision, threads)
        try:
            channels = getattr(network, 'channels', 3)
            self.infer(torch.zeros(1, channels, *size).numpy())
        except Exception as error:
            raise DeployError(
                f"backend='compile': PyTorch cannot compile this network on {device} "
                f'({_first_line(error)}); expected a C++ compiler (apt install g++), '
                "or Triton on a GPU; or take backend='torch'"
            ) from error

    def _prepared(self, network):
        if self.device == 'cpu':
            return torch.compile(network)
        compiled = torch.compile(network, mode='reduce-overhead')
        return lambda image: compiled(image.to(self.device, self._dtype))


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
