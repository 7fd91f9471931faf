"""A network in PyTorch into what a runtime reads, in memory."""

import functools
import io
import warnings

import torch
from torch import nn

from ..errors import DeployError
from ..onnx_tracing import READS_CODE, trace_to_onnx
from ..telemetry import decline_telemetry
from .openvino_core import import_openvino, openvino_core

OPSET = 17


def to_onnx(network: nn.Module, shape: tuple[int, ...]) -> bytes:
    """An ONNX model of one size of input.

    Args:
        network (nn.Module): In evaluation mode, on the CPU.
        shape (tuple[int]): (1, 3, H, W) of its input. Networks compute sizes in
            Python, so that the model is right for this shape only.

    Returns:
        bytes: With the input 'image' and the output 'logits'.

    Raises:
        DeployError: The package onnx is missing, or the network has what ONNX has not.
    """
    try:
        return _export(network, shape)
    except RuntimeError:
        # pooling into bins that do not divide the size is refused by tracing, and
        # left to the slower exporter, or written as other operators
        pass
    try:
        if READS_CODE:
            by_code = functools.partial(torch.onnx.export, dynamo=True)
            return _export(network, shape, by_code)
        from ..export.pooling import without_adaptive_pools

        return _export(without_adaptive_pools(network), shape)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise DeployError(
            f'the network cannot be converted to ONNX: {reason}'
        ) from error


def to_openvino(network: nn.Module, shape: tuple[int, ...]):
    """As :func:`to_onnx`, for OpenVINO.

    Returns:
        ov.Model: With one input and one output.
    """
    ov = import_openvino()
    try:
        # a tenth of the time of convert_model, and the same speed after
        traced = _export(network, shape)
        return openvino_core().read_model(traced)
    except RuntimeError:
        pass
    decline_telemetry()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')
        return ov.convert_model(
            network, example_input=torch.zeros(shape), input=list(shape)
        )


def _export(network, shape, export=None):
    export = export or functools.partial(trace_to_onnx, opset_version=OPSET)
    file = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            export(
                network,
                (torch.zeros(shape),),
                file,
                input_names=['image'],
                output_names=['logits'],
            )
    except ImportError as error:
        raise DeployError(
            f'conversion to ONNX needs the package onnx ({error}); install it by '
            'pip install "fastsegformer-mm[deploy]"'
        ) from error
    return file.getvalue()
