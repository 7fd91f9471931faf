"""INT8 by post-training quantization, for OpenVINO and for ONNX Runtime.

Convolutions compute on 8-bit integers, everything else stays in floating point.
NNCF, OpenVINO and ONNX Runtime are imported when they are called for.
"""

from .calibration import calibration_images
from .onnx_int8 import quantize_onnx
from .openvino_int8 import quantize_openvino
from .ranking import quantized_layers

__all__ = [
    'calibration_images',
    'quantize_onnx',
    'quantize_openvino',
    'quantized_layers',
]
