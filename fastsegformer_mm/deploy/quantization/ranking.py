"""Which layers of a quantized model hurt."""

import numpy as np

CONVOLUTIONS = ('Convolution', 'GroupConvolution')
# images by which layers are compared
NUM_IMAGES = 16


def convolutions(model) -> list:
    """Convolutions of an ``ov.Model``, in the graph's order."""
    return [op for op in model.get_ordered_ops() if op.get_type_name() in CONVOLUTIONS]


def quantized_layers(model) -> list[str]:
    """Friendly names of the convolutions that compute in INT8, in the graph's order.

    Args:
        model (ov.Model): Of
            :func:`~fastsegformer_mm.deploy.quantization.quantize_openvino`.
    """
    return [
        op.get_friendly_name()
        for op in convolutions(model)
        if op.input_value(0).get_node().get_type_name() == 'FakeQuantize'
    ]


def rank_layers(model, quantized, images: list[np.ndarray]) -> list[str]:
    """Quantized convolutions, the one that hurts most first.

    Each in turn is put back to float, weights and input; what the mean squared
    error of the logits falls to then is its rank. (NNCF's own accuracy control, by
    logits, puts those first whose return leaves the largest error, and by a figure
    such as mIoU asks for it anew for each image and layer.)

    Args:
        model (ov.Model): In float.
        quantized (ov.Model): The same quantized, without corrected biases.
        images (list[np.ndarray]): Inputs; the first 16 are looked at.

    Returns:
        list[str]: Friendly names.
    """
    images = images[:NUM_IMAGES]
    expected = _outputs(model, images)
    weights = {op.get_friendly_name(): op.input_value(1) for op in convolutions(model)}
    names = quantized_layers(quantized)
    errors = {}
    for name in names:
        outputs = _outputs(_with_float(quantized, name, weights[name]), images)
        errors[name] = sum(
            float(np.square(a - b).mean()) for a, b in zip(outputs, expected)
        )
    return sorted(names, key=errors.get)


def _with_float(quantized, name, weights):
    """A copy whose convolution ``name`` reads float maps and ``weights``."""
    import openvino as ov

    copy = quantized.clone()
    op = next(op for op in convolutions(copy) if op.get_friendly_name() == name)
    quantizer = op.input_value(0).get_node()
    op.input(0).replace_source_output(quantizer.input_value(0))
    # whatever computes the weights from constants, copied with them
    constant = ov.Model([weights], []).clone().get_results()[0].input_value(0)
    op.input(1).replace_source_output(constant)
    return copy


def _outputs(model, images):
    import openvino as ov

    request = ov.compile_model(
        model, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'}
    ).create_infer_request()
    return [request.infer([image])[0].copy() for image in images]
