"""A network as an OpenVINO model."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch

from ..backends.openvino_core import import_openvino
from ..errors import DeployError
from ..model_card import KEY, ModelCard
from ..telemetry import decline_telemetry
from .onnx_graph import _quiet
from .parts import Part

# names of operations that compute positions in a frame
EXACT = 'exact/'
# and the attribute by which OpenVINO leaves an operation in float32
KEPT = {
    'name': 'DisablePrecisionConversion',
    'version': '0',
    'value': 'dynamic:f16',
}


def to_openvino(part: Part):
    """A part as an OpenVINO model.

    Args:
        part (Part): What to convert.

    Returns:
        ov.Model: With named inputs and outputs.

    Raises:
        DeployError: OpenVINO is missing or cannot convert the network.
    """
    ov = import_openvino()
    decline_telemetry()
    examples = tuple(part.inputs.values())
    try:
        with _quiet(), torch.no_grad():
            model = ov.convert_model(
                part.module,
                example_input=examples if len(examples) > 1 else examples[0],
                input=[part.shape(name) for name in part.inputs],
            )
    except Exception as error:
        if 'KeyboardInterrupt' in str(error):
            # OpenVINO calls Python, and reports Ctrl-C as an error of its own
            raise KeyboardInterrupt from error
        lines = [x.strip() for x in str(error).splitlines() if x.strip()]
        raise DeployError(
            'the network cannot be converted to OpenVINO: '
            f'{(lines or [type(error).__name__])[-1][:200]}. --format onnx may know '
            'what is missing'
        ) from error
    for port, name in zip((*model.inputs, *model.outputs), names_of(part)):
        port.get_tensor().set_names({name})
    return model


def names_of(part: Part) -> list[str]:
    """Of inputs, then outputs."""
    return [*part.inputs, *part.outputs]


def join(network, before=None, after=None):
    """What comes before and after the network in one model.

    Args:
        network (ov.Model): From 'image' to 'logits'. It is taken apart.
        before (ov.Model, optional): From 'frame' to 'image' and 'frame_size'.
        after (ov.Model, optional): From 'logits' and 'frame_size' to 'mask'.

    Returns:
        ov.Model: Operations of ``before`` and ``after`` have names that begin with
        ``EXACT``.
    """
    ov = import_openvino()
    for part in (before, after):
        for op in part.get_ops() if part else ():
            op.set_friendly_name(EXACT + op.get_friendly_name())
    inputs = list(network.get_parameters())
    result = network.outputs[0].get_node()
    if before:
        image, frame_size = (out.get_node().input_value(0) for out in before.outputs)
        _feed(inputs[0], image)
        inputs = list(before.get_parameters())
    if after:
        logits, size = after.get_parameters()
        _feed(logits, result.input_value(0))
        if before:
            _feed(size, frame_size)
        else:
            inputs.append(size)
        result = after.outputs[0].get_node()
    model = ov.Model([result], inputs, network.get_friendly_name())
    names = ['frame' if before else 'image', 'frame_size'][: len(inputs)]
    for port, name in zip(model.inputs, names):
        port.get_tensor().set_names({name})
    model.outputs[0].get_tensor().set_names({'mask' if after else 'logits'})
    model.validate_nodes_and_infer_types()
    return model


def _feed(parameter, source):
    for target in parameter.output(0).get_target_inputs():
        target.replace_source_output(source)


def save(model, path: Path, card: ModelCard) -> None:
    """Write a model and its weights, with the card.

    Weights are written in float16 where the card's precision is that. Operations
    named ``EXACT`` are marked to be computed in float32: in bfloat16 a position in a
    frame is wrong by pixels.

    Args:
        model (ov.Model): What to write.
        path (Path): The .xml; the .bin comes beside it.
        card (ModelCard): Of the model.
    """
    ov = import_openvino()
    model.set_rt_info(card.to_json(), KEY)
    ov.save_model(model, str(path), compress_to_fp16=card.precision == 'fp16')
    tree = ElementTree.parse(path)
    marked = False
    for layer in tree.getroot().iter('layer'):
        if not layer.get('name').startswith(EXACT):
            continue
        info = layer.find('rt_info')
        if info is None:
            info = ElementTree.Element('rt_info')
            layer.insert(0 if layer.find('data') is None else 1, info)
        marked = True
        # float16 weights: OpenVINO has marked some itself
        if all(entry.get('name') != KEPT['name'] for entry in info):
            ElementTree.SubElement(info, 'attribute', **KEPT)
    if marked:
        tree.write(path, encoding='utf-8', xml_declaration=True)
