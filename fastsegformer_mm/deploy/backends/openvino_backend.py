"""OpenVINO."""

import numpy as np
from torch import nn

from ..errors import DeployError
from .base import Backend
from .conversion import to_openvino
from .openvino_core import import_openvino, openvino_core
from .size_cache import SizeCache

# precision: what the rest is computed in, and what the processor must know for it
HINTS = {'fp32': ('f32', 'FP32'), 'bf16': ('bf16', 'BF16'), 'fp16': ('f16', 'FP16')}


class OpenVinoBackend(Backend):
    """Runs a network in OpenVINO, for the shortest time of a single image.

    On processors that know bfloat16 OpenVINO computes in it unless told otherwise;
    here 'fp32' is float32.

    Args:
        model (str | Path | nn.Module): An .xml or .onnx file, or a network, which is
            converted at the first image of each size.
        device (str): 'cpu'.
        precision (str): 'fp32', 'bf16', 'fp16', or 'int8' for a model with convolutions
            in INT8: the rest in bfloat16 if the processor knows it.
        threads (int, optional): CPU threads. Defaults to None, OpenVINO's choice.
        strict (bool): Whether a precision that the processor does not know is an
            error. Defaults to True; otherwise it is float32.
        streams (int): See the base class.
        slots (int, optional): See the base class.

    Raises:
        DeployError: OpenVINO is missing or cannot read the file, or the processor does
            not know the precision.
    """

    name = 'openvino'

    def __init__(
        self,
        model,
        device='cpu',
        precision='fp32',
        threads=None,
        strict=True,
        streams: int = 1,
        slots: int | None = None,
    ):
        import_openvino()
        if device != 'cpu':
            raise DeployError(
                f"device={device!r} of the backend 'openvino'; expected 'cpu'. On "
                "NVIDIA's GPUs take backend='torch'"
            )
        super().__init__(device, precision, threads, streams, slots)
        self._core = openvino_core()
        hint = self._hint(strict)
        self._config = {
            'PERFORMANCE_HINT': 'LATENCY',
            'INFERENCE_PRECISION_HINT': hint,
        }
        if streams > 1:
            self._config['NUM_STREAMS'] = streams
        if threads:
            self._config['INFERENCE_NUM_THREADS'] = threads
        if isinstance(model, nn.Module):
            if precision == 'int8':
                raise DeployError(
                    "precision='int8' needs images to calibrate with; export the "
                    'model with tools/deployment/export.py --precision int8'
                )
            self._requests = SizeCache(
                lambda shape: self._compile(to_openvino(model, shape))
            )
        else:
            requests = self._compile(self._read(model))
            self._requests = lambda shape: requests

    def _known(self):
        """What the processor computes in."""
        return self._core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')

    def precisions(self) -> tuple[str, ...]:
        """See the base class."""
        known = self._known()
        return tuple(name for name, (_, needed) in HINTS.items() if needed in known)

    def _hint(self, strict):
        """Of the property; and set ``precision`` to what it comes to."""
        known = self._known()
        if self.precision == 'int8':
            return 'bf16' if 'BF16' in known else 'f32'
        hint, needed = HINTS[self.precision]
        if needed in known:
            return hint
        if strict:
            raise DeployError(
                f'precision={self.precision!r}: this processor does not compute in it '
                f'(OpenVINO finds {", ".join(sorted(known))}); take '
                "precision='fp32'"
            )
        self.precision = 'fp32'
        return 'f32'

    def _read(self, path):
        try:
            return self._core.read_model(str(path))
        except Exception as error:
            raise DeployError(
                f'{path}: OpenVINO cannot read it ({_reason(error)}); expected what '
                'tools/deployment/export.py wrote, an .xml with its .bin beside it '
                'or an .onnx'
            ) from error

    def _compile(self, model):
        """Requests of the model compiled, one a slot."""
        try:
            compiled = self._core.compile_model(model, 'CPU', self._config)
        except Exception as error:
            raise DeployError(
                f'OpenVINO cannot run the model ({_reason(error)})'
            ) from error
        self.threads = compiled.get_property('INFERENCE_NUM_THREADS')
        self.compiled = compiled
        return [compiled.create_infer_request() for _ in range(self.slots)]

    def infer(self, *inputs: np.ndarray, slot: int = 0) -> np.ndarray:
        """See the base class."""
        request = self._requests(inputs[0].shape)[slot]
        # neither copied: the input is ours, the output is read before the slot's next
        request.infer(list(inputs), share_inputs=True, share_outputs=True)
        return request.get_output_tensor(0).data

    def versions(self) -> dict[str, str]:
        """See the base class."""
        return {'openvino': import_openvino().__version__}

    def close(self) -> None:
        """See the base class."""
        self._requests = self.compiled = self._core = None


def _reason(error):
    """The last line of OpenVINO's report, which says what was wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]
