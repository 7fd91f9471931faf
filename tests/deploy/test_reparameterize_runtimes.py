"""The deploy form can be exported, and computes the same there."""

import inspect
import runpy
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch

from fastsegformer_mm.deploy.onnx_tracing import trace_to_onnx
from fastsegformer_mm.deploy.reparameterize import reparameterize

tiny = runpy.run_path(str(Path(__file__).with_name('tiny_networks.py')))['tiny']
IMAGE = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope='module', params=['e', 'p'])
def pair(request):
    """The deploy form in float32, and the logits of the network itself."""
    network = tiny(request.param)
    expected = network(IMAGE.double()).numpy()
    return reparameterize(network.float()), expected


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        # tracing: sizes become constants, which is what is wanted
        warnings.simplefilter('ignore')
        yield


def close(logits, expected):
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.skipif(
    'strict' not in inspect.signature(torch.export.export).parameters,
    reason='torch.export has no strict=False before torch 2.3',
)
def test_torch_export(pair):
    network, expected = pair
    program = torch.export.export(network, (IMAGE,), strict=False)
    close(program.module()(IMAGE).numpy(), expected)
    targets = {str(node.target) for node in program.graph.nodes}
    assert 'aten.conv2d.default' in targets
    assert not [name for name in targets if 'batch_norm' in name]


def test_onnx(pair, tmp_path):
    network, expected = pair
    path = str(tmp_path / 'network.onnx')
    trace_to_onnx(network, (IMAGE,), path, input_names=['image'])
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    close(session.run(None, {'image': IMAGE.numpy()})[0], expected)


def test_openvino(pair):
    network, expected = pair
    with torch.no_grad():
        model = openvino.convert_model(network, example_input=IMAGE)
    hints = {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1}
    compiled = openvino.compile_model(model, 'CPU', hints)
    close(compiled(IMAGE.numpy())[0], expected)
