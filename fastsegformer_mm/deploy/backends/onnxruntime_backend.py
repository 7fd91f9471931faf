"""ONNX Runtime."""

import numpy as np
import torch
from torch import nn

from ..errors import DeployError
from ..threads import usable_cores
from .base import Backend
from .conversion import to_onnx
from .size_cache import SizeCache

GPU = 'CUDAExecutionProvider'


class OnnxRuntimeBackend(Backend):
    """Runs a network in ONNX Runtime.

    Args:
        model (str | Path | nn.Module): An .onnx file, or a network, which is converted
            at the first image of each size.
        device (str): 'cpu', or 'cuda:N' with the package onnxruntime-gpu.
        precision (str): 'fp32'; of a file, what it was exported in.
        threads (int, optional): CPU threads. Defaults to None, one a physical core.
        streams (int): See the base class.
        slots (int, optional): See the base class.

    Raises:
        DeployError: ONNX Runtime is missing, cannot read the file, or has no such
            device or precision.
    """

    name = 'onnxruntime'

    def __init__(
        self,
        model,
        device='cpu',
        precision='fp32',
        threads=None,
        streams: int = 1,
        slots: int | None = None,
    ):
        ort = import_onnxruntime()
        if device != 'cpu' and GPU not in ort.get_available_providers():
            raise DeployError(
                f'device={device!r}: this ONNX Runtime has '
                f'{ort.get_available_providers()}; expected {GPU}. Install '
                "onnxruntime-gpu, or take device='cpu' or backend='torch'"
            )
        if precision == 'bf16' or (
            isinstance(model, nn.Module) and precision != 'fp32'
        ):
            raise DeployError(
                f"precision={precision!r} of the backend 'onnxruntime'; expected "
                "'fp32'. For bf16 take backend='openvino'; for int8 export the model "
                'with tools/deployment/export.py --format onnx --precision int8'
            )
        super().__init__(device, precision, threads, streams, slots)
        self._ort = ort
        self._options = ort.SessionOptions()
        self._options.graph_optimization_level = (
            ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        )
        # a call computes in the thread that makes it, and as many more as are asked for
        share = threads or 0
        if streams > 1:
            share = max((threads or usable_cores()) // streams, 1)
        self._options.intra_op_num_threads = share
        self._options.inter_op_num_threads = 1
        self._options.log_severity_level = 3
        self._providers = ['CPUExecutionProvider']
        if device != 'cpu':
            self._providers.insert(0, (GPU, {'device_id': torch.device(device).index}))
        if isinstance(model, nn.Module):
            self._sessions = SizeCache(
                lambda shape: self._open(to_onnx(model, shape), 'the network')
            )
        else:
            sessions = self._open(str(model), model)
            self._sessions = lambda shape: sessions

    def _open(self, model, name):
        """One session, bound to memory for each slot."""
        try:
            session = self._ort.InferenceSession(
                model, self._options, providers=self._providers
            )
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DeployError(
                f'{name}: ONNX Runtime cannot read it ({reason[:200]}); expected what '
                'tools/deployment/export.py --format onnx wrote'
            ) from error
        return [BoundSession(session) for _ in range(self.slots)]

    def infer(self, *inputs: np.ndarray, slot: int = 0) -> np.ndarray:
        """See the base class."""
        return self._sessions(inputs[0].shape)[slot](inputs)

    def versions(self) -> dict[str, str]:
        """See the base class."""
        return {'onnxruntime': self._ort.__version__}

    def close(self) -> None:
        """See the base class."""
        self._sessions = None


class BoundSession:
    """A session that writes its output into the same memory again.

    Args:
        session (InferenceSession): With any inputs and one output.
    """

    def __init__(self, session):
        self.session = session
        self.names = [node.name for node in session.get_inputs()]
        self.half = [node.type == 'tensor(float16)' for node in session.get_inputs()]
        self.outputs = SizeCache(lambda key: {})

    def __call__(self, inputs):
        """Arrays in the order of the session's inputs -> the output."""
        inputs = [
            x.astype(np.float16) if half else x for x, half in zip(inputs, self.half)
        ]
        feed = dict(zip(self.names, inputs))
        if len(inputs) > 1:
            # the size of the output may follow from values, not from shapes
            return self.session.run(None, feed)[0]
        held = self.outputs(inputs[0].shape)
        if 'output' not in held:
            held['output'] = self.session.run(None, feed)[0]
            return held['output']
        binding = self.session.io_binding()
        out = held['output']
        binding.bind_cpu_input(self.names[0], inputs[0])
        binding.bind_output(
            self.session.get_outputs()[0].name,
            'cpu',
            0,
            out.dtype,
            out.shape,
            out.ctypes.data,
        )
        self.session.run_with_iobinding(binding)
        return out


def import_onnxruntime():
    """The package, or a DeployError that says how to get it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise DeployError(
            f"backend='onnxruntime' needs the package onnxruntime ({error}); install "
            'it by pip install "fastsegformer-mm[deploy]"'
        ) from error
    return onnxruntime
