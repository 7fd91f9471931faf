"""INT8 for ONNX Runtime: what is quantized, how near it stays, what is kept."""

import runpy
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.onnx_tracing import trace_to_onnx
from fastsegformer_mm.deploy.quantization import quantize_onnx

case = runpy.run_path(str(Path(__file__).with_name('quantization_case.py')))
SIDE, Small = case['SIDE'], case['Small']
closeness, images = case['closeness'], case['images']


def export(network, path, **options):
    trace_to_onnx(
        network,
        torch.rand(1, 3, SIDE, SIDE),
        str(path),
        input_names=['image'],
        output_names=['logits'],
        opset_version=17,
        **options,
    )
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {'fastsegformer_mm': '{"name": "my"}'})
    onnx.save(model, path)
    return path


def outputs(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options)
    return [session.run(None, {'image': image})[0] for image in images()]


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return export(Small(), tmp_path_factory.mktemp('onnx') / 'plain.onnx')


@pytest.fixture(scope='module')
def quantized(plain):
    path = plain.with_name('int8.onnx')
    quantize_onnx(plain, path, iter(images()))
    return path


def producers(model):
    return {name: node for node in model.graph.node for name in node.output}


def integer_layers(path):
    """Convolutions whose input and weights come from integers."""
    model = onnx.load(path)
    source = producers(model)
    return [
        node.name
        for node in model.graph.node
        if node.op_type == 'Conv'
        and all(
            name in source and source[name].op_type == 'DequantizeLinear'
            for name in node.input[:2]
        )
    ]


def test_all_convolutions_and_nothing_else(plain, quantized):
    convs = [n.name for n in onnx.load(plain).graph.node if n.op_type == 'Conv']
    assert len(convs) == 5
    assert integer_layers(quantized) == convs
    assert integer_layers(plain) == []
    model = onnx.load(quantized)
    source = producers(model)
    readers = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.op_type)
    # what a convolution reads, and what it gives, for the runtime to fuse them
    for node in model.graph.node:
        if node.op_type == 'DequantizeLinear' and node.input[0] in source:
            rounded = source[node.input[0]].input[0]
            given = rounded in source and source[rounded].op_type == 'Conv'
            assert given or 'Conv' in readers[node.output[0]], node.name


def test_weights_are_signed_by_channel_and_activations_unsigned(quantized):
    model = onnx.load(quantized)
    values = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    source = producers(model)
    for node in model.graph.node:
        if node.op_type == 'Conv':
            scale, zero = source[node.input[1]].input[1:3]
            width = len(values[scale])
            assert width in (4, 8)
            assert not values[zero].any()
            assert values[zero].dtype == np.int8
            low = values[source[node.input[0]].input[2]]
            assert low.dtype == np.uint8
            # biases in steps of both
            assert values[source[node.input[2]].input[0]].dtype == np.int32


def test_stays_near(plain, quantized):
    assert closeness(outputs(quantized), outputs(plain)) > 96


def test_runs_on_integers(quantized, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / 'fused.onnx')
    onnxruntime.InferenceSession(str(quantized), options)
    fused = [n.op_type for n in onnx.load(tmp_path / 'fused.onnx').graph.node]
    assert fused.count('QLinearConv') == 5
    assert 'Conv' not in fused


def test_metadata_names_and_the_model_itself_are_kept(plain, quantized):
    model = onnx.load(quantized)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props['fastsegformer_mm'] == '{"name": "my"}'
    assert model.graph.input[0].name == 'image'
    assert model.graph.output[0].name == 'logits'
    assert integer_layers(plain) == []
    assert sorted(p.name for p in plain.parent.iterdir()) == ['int8.onnx', 'plain.onnx']


def test_the_same_every_time_and_in_place(plain, quantized, tmp_path):
    path = tmp_path / 'model.onnx'
    path.write_bytes(plain.read_bytes())
    quantize_onnx(path, path, images())
    for a, b in zip(outputs(path), outputs(quantized), strict=True):
        assert np.array_equal(a, b)


def test_names_that_stay_in_float(tmp_path):
    harmed = export(Small(harm=3000.0), tmp_path / 'harmed.onnx')
    expected = outputs(harmed)
    result = tmp_path / 'int8.onnx'
    quantize_onnx(harmed, result, images())
    assert closeness(outputs(result), expected) < 90
    names = integer_layers(result)
    # the one that gives the uneven map, and the one that reads it
    kept = [n for n in names if 'depthwise' in n or 'harmful' in n]
    quantize_onnx(harmed, result, images(), keep_float=kept)
    assert integer_layers(result) == [n for n in names if n not in kept]
    assert len(kept) == 2
    assert closeness(outputs(result), expected) > 94


def test_any_size(tmp_path):
    path = export(
        Small(),
        tmp_path / 'any.onnx',
        dynamic_axes={'image': {0: 'n', 2: 'h', 3: 'w'}, 'logits': {0: 'n'}},
    )
    result = tmp_path / 'int8.onnx'
    quantize_onnx(path, result, images())
    session = onnxruntime.InferenceSession(str(result))
    found = session.run(None, {'image': np.zeros((2, 3, 16, 32), np.float32)})[0]
    assert found.shape == (2, 4, 16, 32)


def test_errors(plain, tmp_path, monkeypatch):
    result = tmp_path / 'int8.onnx'
    with pytest.raises(DeployError, match='takes float32'):
        quantize_onnx(plain, result, [images()[0][..., 1:]])
    with pytest.raises(DeployError, match='no calibration image'):
        quantize_onnx(plain, result, [])
    with pytest.raises(DeployError, match="'nowhere'; expected some of /first/Conv"):
        quantize_onnx(plain, result, images(), keep_float=['nowhere'])
    bare = export(nn.Sigmoid(), tmp_path / 'bare.onnx')
    with pytest.raises(DeployError, match=r'bare\.onnx has no convolution'):
        quantize_onnx(bare, result, images())
    with pytest.raises(DeployError, match=r'missing\.onnx'):
        quantize_onnx(tmp_path / 'missing.onnx', result, images())
    assert not result.exists()
    monkeypatch.setitem(sys.modules, 'onnxruntime.quantization', None)
    with pytest.raises(DeployError, match=r'fastsegformer-mm\[deploy\]'):
        quantize_onnx(plain, result, images())
