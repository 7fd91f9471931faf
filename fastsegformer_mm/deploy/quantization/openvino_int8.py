"""INT8 for OpenVINO, by NNCF's post-training quantization."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..errors import DeployError
from .calibration import gather

CONVOLUTIONS = ('Convolution', 'GroupConvolution')
# hold no arithmetic
PASSIVE = ('Constant', 'Parameter', 'Result')


def quantize_openvino(
    model,
    calibration: Iterable[np.ndarray],
    *,
    accuracy: Callable | None = None,
    max_drop: float | None = None,
    keep_float: Sequence[str] = (),
):
    """Convolutions of a model in INT8, everything else as it was.

    Weights become signed 8-bit integers with a scale for each output channel,
    activations unsigned ones between the least and the largest value that was seen;
    biases are corrected for the mean error. At run time the rest computes in
    whatever precision OpenVINO is told: ``INFERENCE_PRECISION_HINT='bf16'``.

    `NNCF <https://github.com/openvinotoolkit/nncf>`_ is the work of OpenVINO's
    makers.

    Args:
        model (ov.Model): Of ``openvino.convert_model``, in float32, with one input,
            the normalised image. (Of a model that ``read_model`` has loaded, NNCF no
            longer knows GELU.) It stays as it is. Frames as input, or masks as
            output, are to be added after quantization.
        calibration (Iterable[np.ndarray]): float32 of the input's shape, as of
            :func:`~fastsegformer_mm.deploy.quantization.calibration_images`.
        accuracy (Callable, optional): From an ``ov.Model`` to a figure that is
            better the larger it is, say mIoU in percent. Needs ``max_drop``.
        max_drop (float, optional): By how much the figure may fall against the
            float model. Where it falls by more, the layers that hurt most go back
            to float, one after the other, until it is met.
        keep_float (Sequence[str]): Friendly names of convolutions that stay in
            float.

    Returns:
        ov.Model: Same inputs, outputs and metadata.

    Raises:
        DeployError: NNCF is missing, no image fits, the model has no convolution or
            none of a name in ``keep_float``, ``accuracy`` comes without ``max_drop``
            or the reverse, or ``max_drop`` cannot be met.
    """
    if (accuracy is None) != (max_drop is None):
        raise DeployError(
            f'accuracy={accuracy} with max_drop={max_drop}; expected both, the figure '
            'and by how much it may fall, or none of them'
        )
    try:
        import nncf
    except ImportError as error:
        raise DeployError(
            f'INT8 for OpenVINO needs NNCF ({error}); install it by '
            'pip install "fastsegformer-mm[deploy]"'
        ) from error
    images = gather(calibration, [_side(d) for d in model.input(0).partial_shape])
    _check_names(model, keep_float)
    types = {op.get_type_name() for op in model.get_ops()}
    options = {
        'subset_size': len(images),
        'preset': nncf.QuantizationPreset.MIXED,
        'ignored_scope': nncf.IgnoredScope(
            names=list(keep_float),
            types=sorted(types.difference(CONVOLUTIONS, PASSIVE)),
            validate=False,
        ),
    }
    parameters = _parameters(nncf)
    with _quiet():
        if accuracy is None:
            return nncf.quantize(
                model, nncf.Dataset(images), advanced_parameters=parameters, **options
            )
        return _with_control(
            nncf, model, images, accuracy, max_drop, parameters, options
        )


def quantized_layers(model) -> list[str]:
    """Friendly names of the convolutions that compute in INT8, in the graph's order.

    Args:
        model (ov.Model): Of :func:`quantize_openvino`.
    """
    return [
        op.get_friendly_name()
        for op in model.get_ordered_ops()
        if op.get_type_name() in CONVOLUTIONS
        and op.input_value(0).get_node().get_type_name() == 'FakeQuantize'
    ]


def _with_control(nncf, model, images, accuracy, max_drop, parameters, options):
    def validate(compiled, _):
        return accuracy(compiled), None

    return nncf.quantize_with_accuracy_control(
        model,
        nncf.Dataset(images),
        nncf.Dataset(images),
        validate,
        max_drop=max_drop,
        advanced_quantization_parameters=parameters,
        **options,
    )


def _parameters(nncf):
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return AdvancedQuantizationParameters(
        # half the weights' range, for processors without VNNI
        overflow_fix=OverflowFix.DISABLE,
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
    )


def _check_names(model, keep_float):
    names = [
        op.get_friendly_name()
        for op in model.get_ops()
        if op.get_type_name() in CONVOLUTIONS
    ]
    if not names:
        raise DeployError('the model has no convolution; there is nothing for INT8')
    for name in keep_float:
        if name not in names:
            raise DeployError(
                f'keep_float: the model has no convolution {name!r}; expected one of '
                f'{", ".join(names)}'
            )


def _side(dimension):
    return dimension.get_length() if dimension.is_static else None


@contextlib.contextmanager
def _quiet():
    """Without NNCF's lists of everything that it leaves alone."""
    logger = logging.getLogger('nncf')
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
