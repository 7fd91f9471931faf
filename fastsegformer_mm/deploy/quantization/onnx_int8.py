"""INT8 for ONNX Runtime, by its static quantization."""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..errors import DeployError
from .calibration import gather


def quantize_onnx(
    path_in: str | Path,
    path_out: str | Path,
    calibration: Iterable[np.ndarray],
    *,
    keep_float: Sequence[str] = (),
) -> None:
    """Write an ONNX model with its convolutions in INT8.

    As pairs of QuantizeLinear and DequantizeLinear around the convolutions, which
    the runtime fuses; weights are signed with a scale for each output channel,
    activations unsigned between the least and the largest value that was seen. See
    `Quantize ONNX models
    <https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html>`_.

    Args:
        path_in (str | Path): Model in float32 with one input, the normalised image.
        path_out (str | Path): Where to write. Metadata is that of ``path_in``.
        calibration (Iterable[np.ndarray]): float32 of the input's shape, as of
            :func:`~fastsegformer_mm.deploy.quantization.calibration_images`.
        keep_float (Sequence[str]): Names of convolutions that stay in float. What a
            convolution in INT8 gives is rounded to 8 bits too, so where a map suffers
            both the one that gives it and those that read it have to stay.

    Raises:
        DeployError: ONNX Runtime is missing, no image fits, or the model has no
            convolution or none of a name in ``keep_float``.
    """
    try:
        import onnx
        from onnxruntime.quantization import (
            CalibrationDataReader,
            QuantFormat,
            QuantType,
            quantize_static,
        )
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise DeployError(
            f'INT8 for ONNX Runtime needs onnx and onnxruntime ({error}); install '
            'them by pip install "fastsegformer-mm[deploy]"'
        ) from error

    class Reader(CalibrationDataReader):
        def __init__(self, name, images):
            self.feeds = iter([{name: image} for image in images])

        def get_next(self):
            return next(self.feeds, None)

    if not Path(path_in).is_file():
        raise DeployError(
            f'{path_in}: no such file; expected an ONNX model, as '
            'tools/deployment/export.py --format onnx writes it'
        )
    model = onnx.load(path_in)
    source = model.graph.input[0]
    shape = [d.dim_value or None for d in source.type.tensor_type.shape.dim]
    images = gather(calibration, shape)
    _check_names(model, path_in, keep_float)
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder, 'prepared.onnx')
        quant_pre_process(str(path_in), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(path_out),
            Reader(source.name, images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=['Conv'],
            nodes_to_exclude=list(keep_float),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    written = onnx.load(path_out)
    onnx.helper.set_model_props(
        written, {entry.key: entry.value for entry in model.metadata_props}
    )
    onnx.save(written, path_out)


def _check_names(model, path, keep_float):
    names = [node.name for node in model.graph.node if node.op_type == 'Conv']
    if not names:
        raise DeployError(f'{path} has no convolution; there is nothing for INT8')
    for name in keep_float:
        if name not in names:
            raise DeployError(
                f'keep_float: {path} has no convolution {name!r}; expected some of '
                f'{", ".join(names)}'
            )
