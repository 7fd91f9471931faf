"""INT8 for OpenVINO, by NNCF's post-training quantization."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from mmengine.logging import print_log

from ..errors import DeployError
from ..telemetry import decline_telemetry
from .calibration import gather
from .ranking import CONVOLUTIONS, convolutions, rank_layers

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
    makers. Quantize the deploy form
    (:func:`~fastsegformer_mm.deploy.reparameterize.reparameterize`): between its
    convolutions OpenVINO need not reorder maps.

    Args:
        model (ov.Model): Of ``openvino.convert_model``, in float32, with one input,
            the normalised image. (Of a model that ``read_model`` has loaded, NNCF no
            longer knows GELU.) It stays as it is. Frames as input, or masks as
            output, are to be added after quantization.
        calibration (Iterable[np.ndarray]): float32 of the input's shape, as of
            :func:`~fastsegformer_mm.deploy.quantization.calibration_images`.
        accuracy (Callable, optional): From an ``ov.Model``, which it compiles, to a
            figure that is better the larger it is, say mIoU in percent. It sees
            ``model`` first, which has no ``quantized_layers``: in float32 as the
            reference it should compile that one in 'f32' and the others as they are
            to run. Needs ``max_drop``. Defaults to None: not looked at.
        max_drop (float, optional): By how much the figure may fall against that of
            ``model``. Where it falls by more, the layers that hurt the logits most
            go back to float: as few as meet it, by bisection.
        keep_float (Sequence[str]): Friendly names of convolutions that stay in
            float.

    Returns:
        ov.Model: Same inputs, outputs and metadata.

    Raises:
        DeployError: NNCF is missing, no image fits, the model has no convolution or
            none of a name in ``keep_float``, ``accuracy`` comes without ``max_drop``
            or the reverse, or ``max_drop`` is met with no layer in INT8.

    Example:
        >>> model = openvino.convert_model(
        ...     network, example_input=image, input=[1, 3, 224, 224])
        >>> int8 = quantize_openvino(model, calibration_images('config.py'))
    """
    if (accuracy is None) != (max_drop is None) or (max_drop or 0) < 0:
        raise DeployError(
            f'accuracy={accuracy} with max_drop={max_drop}; expected both, the figure '
            'and by how much it may fall (0 or more), or none of them'
        )
    try:
        import nncf
    except ImportError as error:
        raise DeployError(
            f'INT8 for OpenVINO needs NNCF ({error}); install it by '
            'pip install "fastsegformer-mm[deploy]"'
        ) from error
    except AttributeError as error:
        raise DeployError(
            'INT8 for OpenVINO needs NNCF, and this one needs a newer torch '
            f'({error}); with torch < 2.3 install nncf<3'
        ) from error
    decline_telemetry()
    images = gather(calibration, [_side(d) for d in model.input(0).partial_shape])
    _check_names(model, keep_float)
    with _quiet():
        quantized = _quantize(nncf, model, images, keep_float)
        if accuracy is None:
            return quantized
        goal = accuracy(model) - max_drop
        figure = accuracy(quantized)
        print_log(f'INT8: {figure:.2f}, expected {goal:.2f}', logger='current')
        if figure >= goal:
            return quantized
        # without the correction: a bias corrected for a layer does not suit its
        # float form
        plain = _quantize(nncf, model, images, keep_float, correct_biases=False)
        order = rank_layers(model, plain, images)
        print_log(f'INT8 hurts most in {", ".join(order[:3])}', logger='current')
        return _restore(nncf, model, images, keep_float, order, accuracy, goal)


def _restore(nncf, model, images, keep_float, order, accuracy, goal):
    """Bisect how many of ``order`` go back to float."""
    too_few, enough, best = 0, len(order), None
    while enough - too_few > 1:
        count = (too_few + enough) // 2
        candidate = _quantize(nncf, model, images, [*keep_float, *order[:count]])
        figure = accuracy(candidate)
        print_log(
            f'INT8 without {count} of {len(order)} layers: {figure:.2f}',
            logger='current',
        )
        if figure >= goal:
            enough, best = count, candidate
        else:
            too_few = count
    if best is None:
        raise DeployError(
            f'INT8 meets {goal:.2f} with no layer: expected some of {len(order)} to '
            'keep it; allow a larger max_drop, or export in bf16'
        )
    return best


def _quantize(nncf, model, images, keep_float, correct_biases=True):
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        OverflowFix,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    types = {op.get_type_name() for op in model.get_ops()}
    return nncf.quantize(
        model,
        nncf.Dataset(images),
        subset_size=len(images),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(
            names=list(keep_float),
            types=sorted(types.difference(CONVOLUTIONS, PASSIVE)),
            validate=False,
        ),
        advanced_parameters=AdvancedQuantizationParameters(
            # it halves the weights' range, for processors without VNNI
            overflow_fix=OverflowFix.DISABLE,
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            disable_bias_correction=not correct_biases,
        ),
    )


def _check_names(model, keep_float):
    names = [op.get_friendly_name() for op in convolutions(model)]
    if not names:
        raise DeployError('the model has no convolution; there is nothing for INT8')
    for name in keep_float:
        if name not in names:
            raise DeployError(
                f'keep_float: the model has no convolution {name!r}; expected some of '
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
