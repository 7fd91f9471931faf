"""A network as an ONNX model."""

import contextlib
import importlib
import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch

from ..errors import DeployError
from ..model_card import KEY, ModelCard
from ..onnx_tracing import READS_CODE, trace_to_onnx
from .parts import Part
from .pooling import without_adaptive_pools

OPSET = 18


def import_onnx():
    """The package, or a DeployError that says how to get it."""
    try:
        # what is exported is run, to be compared
        onnx, _ = map(importlib.import_module, ('onnx', 'onnxruntime'))
    except ImportError as error:
        raise DeployError(
            f'--format onnx needs onnx and onnxruntime ({error}); install them by '
            'pip install "fastsegformer-mm[deploy]"'
        ) from error
    return onnx


def to_onnx(part: Part, path: Path) -> None:
    """Write a part as an ONNX model.

    The exporter that traces comes first: it takes a tenth of the time, and its models
    are as fast. Where it fails, or where sides are free and what it wrote is wrong at
    another size than it was traced at, the one that reads the code comes after.

    Args:
        part (Part): What to write.
        path (Path): Where to.

    Raises:
        DeployError: Neither gives a model that is right at every size.
    """
    onnx = import_onnx()
    module = without_adaptive_pools(part.module)
    reasons = []
    for dynamo in (False, True) if READS_CODE else (False,):
        try:
            with _quiet(), torch.no_grad():
                _write(part, module, path, dynamo)
            onnx.checker.check_model(str(path))
            if any(part.free.values()):
                _check_other_size(part, path)
            return
        except Exception as error:
            # exporters and runtimes raise whatever they like
            lines = [x.strip() for x in str(error).splitlines() if x.strip()]
            reasons.append((lines or [type(error).__name__])[0][:200])
    if not READS_CODE:
        reasons.append('the exporter that reads the code needs torch >= 2.6')
    hint = ''
    if any(part.free.values()):
        hint = (
            ' The network may compute sizes that a graph with free ones cannot: choose '
            '--shape HEIGHT WIDTH, or --batch 1.'
        )
    raise DeployError(
        f'the network cannot be written as ONNX: {"; ".join(reasons)}.{hint} '
        '--format openvino may know what is missing'
    )


def _write(part, module, path, dynamo):
    names = dict(input_names=list(part.inputs), output_names=part.outputs)
    inputs = tuple(part.inputs.values())
    if not dynamo:
        names['dynamic_axes'] = {name: axes for name, axes in part.free.items() if axes}
        trace_to_onnx(module, inputs, str(path), opset_version=OPSET, **names)
        return
    auto = torch.export.Dim.DYNAMIC
    torch.onnx.export(
        module,
        inputs,
        str(path),
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=tuple(
            dict.fromkeys(part.free.get(n, {}), auto) for n in part.inputs
        ),
        external_data=False,
        verbose=False,
        **names,
    )


def _check_other_size(part, path):
    """Raise a ValueError where a model is wrong at a size it was not traced at."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(
        str(path), options, providers=['CPUExecutionProvider']
    )
    inputs = {name: _resized(part, name) for name in part.inputs}
    with torch.no_grad():
        wanted = part.module(*inputs.values())
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    found = session.run(part.outputs, {k: v.numpy() for k, v in inputs.items()})
    for name, a, b in zip(part.outputs, wanted, found):
        a = a.numpy()
        # a size that was fixed is wrong by far; what is left is for the report
        if a.shape != b.shape or not np.allclose(a, b, atol=0.05 * abs(a).max()):
            raise ValueError(
                f'{name} is wrong at another size than that which was traced'
            )


def _resized(part, name):
    """An example with other free sides."""
    example = part.inputs[name]
    if name == 'frame_size':
        return example if part.module.card.resize == 'none' else example + 30
    size = list(example.shape)
    for axis, label in part.free.get(name, {}).items():
        if label == 'batch':
            size[axis] = 1
        elif name != 'logits' or part.module.card.resize != 'none':
            size[axis] += 64 if axis % 2 else 32
    generator = torch.Generator().manual_seed(1)
    if example.dtype == torch.uint8:
        return torch.randint(0, 256, size, generator=generator, dtype=torch.uint8)
    return torch.randn(size, generator=generator)


def to_half(path: Path) -> None:
    """Turn a model's arithmetic to float16, in place; inputs and outputs stay.

    Raises:
        DeployError: A package is missing.
    """
    onnx = import_onnx()
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(str(path))
    with _quiet():
        onnx.save(convert_float_to_float16(model, keep_io_types=True), str(path))


def join(network: Path, before: Path | None, after: Path | None, path: Path) -> None:
    """Write a model with what comes before and after the network in one graph.

    Args:
        network (Path): From 'image' to 'logits'.
        before (Path, optional): From 'frame' to 'image' and 'frame_size'.
        after (Path, optional): From 'logits' and 'frame_size' to 'mask'.
        path (Path): Where to write.
    """
    onnx = import_onnx()
    model = onnx.load(str(network))
    if before:
        first = _prefixed(onnx, before, 'frame_input')
        model = _merge(onnx, first, model, ['image'])
    if after:
        shared = ['logits', *(['frame_size'] if before else [])]
        model = _merge(onnx, model, _prefixed(onnx, after, 'mask_output'), shared)
    output = 'mask' if after else 'logits'
    spare = [value for value in model.graph.output if value.name != output]
    for value in spare:
        model.graph.output.remove(value)
    # sizes that a part could not know alone
    del model.graph.value_info[:]
    onnx.save(model, str(path))


def _prefixed(onnx, path, prefix):
    return onnx.compose.add_prefix(
        onnx.load(str(path)),
        f'{prefix}/',
        rename_inputs=False,
        rename_outputs=False,
    )


def _merge(onnx, first, second, shared):
    version = max(first.ir_version, second.ir_version)
    opset = max(m.opset_import[0].version for m in (first, second))
    first, second = (_at_opset(onnx, m, opset) for m in (first, second))
    first.ir_version = second.ir_version = version
    return onnx.compose.merge_models(first, second, io_map=[(n, n) for n in shared])


def _at_opset(onnx, model, version):
    found = next(o for o in model.opset_import if o.domain in ('', 'ai.onnx'))
    if found.version == version:
        return model
    return onnx.version_converter.convert_version(model, version)


def set_card(path: Path, card: ModelCard) -> None:
    """Put the card into a model's metadata, in place of any other."""
    onnx = import_onnx()
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {KEY: card.to_json()})
    model.producer_name = KEY
    model.producer_version = card.version
    onnx.save(model, str(path))


@contextlib.contextmanager
def _quiet():
    """Without the remarks of tracing, which are for the makers of networks."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
