"""PyTorch's exporter to ONNX that traces, on every version of torch."""

import inspect

import torch

# The exporter that reads the code can leave sizes free since torch 2.6.
READS_CODE = hasattr(getattr(getattr(torch, 'export', None), 'Dim', None), 'DYNAMIC')

# before torch 2.5 there is no other to choose
_CHOICE = {'dynamo'} & set(inspect.signature(torch.onnx.export).parameters)


def trace_to_onnx(network, inputs: tuple, file, **settings) -> None:
    """``torch.onnx.export`` by running the network once.

    Args:
        network (nn.Module): In evaluation mode.
        inputs (tuple[Tensor]): What it is run on.
        file (str | BinaryIO): Where to write.
        **settings: Of ``torch.onnx.export``. An ``opset_version`` that this torch
            does not write yet is lowered to its newest.
    """
    # torch 2.0 knows later ones in part
    constants = torch.onnx._constants
    newest = getattr(constants, 'ONNX_TORCHSCRIPT_EXPORTER_MAX_OPSET', 17)
    if 'opset_version' in settings:
        settings['opset_version'] = min(settings['opset_version'], newest)
    settings.update(dict.fromkeys(_CHOICE, False))
    torch.onnx.export(network, inputs, file, **settings)
