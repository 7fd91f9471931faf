"""The runtime that was chosen."""

from .base import Backend
from .compile_backend import CompileBackend
from .onnxruntime_backend import OnnxRuntimeBackend
from .openvino_backend import OpenVinoBackend
from .torch_backend import TorchBackend


def make_backend(
    name: str, model, device, precision, threads, strict: bool, card, lanes: dict
) -> Backend:
    """Build a runtime; packages of others are not imported.

    Args:
        name (str): 'torch', 'compile', 'onnxruntime' or 'openvino'.
        model (str | Path | nn.Module): An exported file or a network.
        device (str): 'cpu' or 'cuda:N'.
        precision (str): 'fp32', 'bf16', 'fp16' or 'int8'.
        threads (int, optional): CPU threads. None for the runtime's own number.
        strict (bool): Whether a precision that the processor does not know is an error.
        card (ModelCard): Of the model.
        lanes (dict): ``streams`` and ``slots`` of a runtime that has them.

    Raises:
        DeployError: The runtime is missing, or cannot run the model so.
    """
    if name == 'torch':
        return TorchBackend(model, device, precision)
    if name == 'compile':
        return CompileBackend(model, device, precision, size=card.size)
    if name == 'onnxruntime':
        return OnnxRuntimeBackend(model, device, precision, threads, **lanes)
    return OpenVinoBackend(model, device, precision, threads, strict, **lanes)
