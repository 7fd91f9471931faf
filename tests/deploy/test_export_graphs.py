"""Networks and what is around them as graphs of ONNX Runtime and OpenVINO."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from torch import nn

from fastsegformer_mm.deploy.backends.artefact import read_card
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.export import onnx_graph, openvino_graph
from fastsegformer_mm.deploy.export.frame_input import FrameInput
from fastsegformer_mm.deploy.export.mask_output import MaskOutput
from fastsegformer_mm.deploy.export.parts import frame_part, mask_part, network_part
from fastsegformer_mm.deploy.model_card import KEY, ModelCard

frame = runpy.run_path(str(Path(__file__).with_name('segmentor_cases.py')))['frame']
CARD = ModelCard(
    'm',
    ('a', 'b', 'c'),
    ((0, 0, 0),) * 3,
    (48, 64),
    std=(60.0, 50.0, 40.0),
    shape=(48, 64),
    batch=1,
)


class Pools(nn.Module):
    """A network with a pyramid whose bins divide no size here."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(5)

    def forward(self, x):
        y = self.conv(x)
        z = nn.functional.interpolate(self.pool(y), y.shape[2:], mode='bilinear')
        return nn.functional.interpolate(y * z + y, x.shape[2:], mode='bilinear')


class FixedSize(nn.Module):
    """A network that can never be one of free sizes: Python decides."""

    def forward(self, x):
        return x * (1.0 if int(x.shape[2]) == 160 else -1.0)


def run_onnx(path, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options).run(None, inputs)[0]


def run_openvino(path, *inputs, hint='f32'):
    config = {'INFERENCE_PRECISION_HINT': hint, 'INFERENCE_NUM_THREADS': 1}
    core = openvino.Core()
    return core.compile_model(core.read_model(path), 'CPU', config)(list(inputs))[0]


def in_torch(network, card, picture):
    """Logits and mask of a frame."""
    with torch.no_grad():
        image, size = FrameInput(card)(torch.from_numpy(picture)[None])
        logits = network(image)
        return image.numpy(), logits.numpy(), MaskOutput(card)(logits, size).numpy()


@pytest.fixture(scope='module')
def network():
    return Pools().eval()


@pytest.fixture(scope='module')
def onnx_parts(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp('onnx')
    parts = network_part(network, CARD), frame_part(CARD), mask_part(CARD)
    paths = [folder / f'{i}.onnx' for i in range(3)]
    for part, path in zip(parts, paths):
        onnx_graph.to_onnx(part, path)
    return paths


@pytest.mark.parametrize(('pre', 'post'), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_onnx_in_every_combination(network, onnx_parts, pre, post, tmp_path):
    path = tmp_path / 'model.onnx'
    alone, before, after = onnx_parts
    onnx_graph.join(alone, before if pre else None, after if post else None, path)
    onnx_graph.set_card(path, CARD)
    onnx.checker.check_model(path, full_check=True)
    assert read_card(path) == CARD
    for seed, shape in enumerate(((100, 77), (31, 90), (48, 64))):
        picture = frame(*shape, seed)
        image, logits, mask = in_torch(network, CARD, picture)
        inputs = {'frame': picture[None]} if pre else {'image': image}
        if post and not pre:
            inputs['frame_size'] = np.array(shape)
        found = run_onnx(path, **inputs)
        if post:
            assert found.dtype == np.uint8
            assert found.shape == mask.shape
            assert (found == mask).mean() > 0.999
        else:
            assert np.allclose(found, logits, atol=1e-4)


@pytest.mark.parametrize(('pre', 'post'), [(1, 1), (1, 0), (0, 1)])
def test_openvino_in_every_combination(network, pre, post, tmp_path):
    path = tmp_path / 'model.xml'
    to = openvino_graph.to_openvino
    model = openvino_graph.join(
        to(network_part(network, CARD)),
        to(frame_part(CARD)) if pre else None,
        to(mask_part(CARD)) if post else None,
    )
    openvino_graph.save(model, path, CARD)
    assert read_card(path) == CARD
    for seed, shape in enumerate(((100, 77), (31, 90))):
        picture = frame(*shape, seed)
        image, logits, mask = in_torch(network, CARD, picture)
        inputs = [picture[None] if pre else image]
        if post and not pre:
            inputs.append(np.array(shape))
        found = run_openvino(path, *inputs)
        if post:
            assert found.dtype == np.uint8
            assert found.shape == mask.shape
            assert (found == mask).mean() > 0.999
        else:
            assert np.allclose(found, logits, atol=1e-4)


def test_positions_stay_exact_in_bfloat16(tmp_path):
    """Rounded to eight bits they would be wrong by pixels."""
    card = replace(CARD, precision='bf16')
    identity = nn.Sequential(nn.Identity(), nn.Hardtanh(-100, 100))
    to = openvino_graph.to_openvino
    model = openvino_graph.join(to(network_part(identity, card)), to(frame_part(card)))
    path = tmp_path / 'model.xml'
    openvino_graph.save(model, path, card)
    picture = frame(333, 517)
    image, _, _ = in_torch(identity, card, picture)
    found = run_openvino(path, picture[None], hint='bf16')
    apart = np.abs(found - image) * np.array(card.std)[:, None, None]
    # values themselves may be rounded to eight bits
    assert apart.max() < 1.01
    assert (apart > 0.5).mean() < 0.005


def test_sizes_and_batch_left_free(network, tmp_path):
    card = replace(CARD, shape=None, batch=None)
    part = network_part(network, card)
    onnx_graph.to_onnx(part, tmp_path / 'a.onnx')
    openvino_graph.save(openvino_graph.to_openvino(part), tmp_path / 'a.xml', card)
    for shape in ((1, 3, 70, 50), (3, 3, 64, 96)):
        x = torch.randn(shape)
        with torch.no_grad():
            wanted = network(x).numpy()
        found = run_onnx(tmp_path / 'a.onnx', image=x.numpy())
        assert np.allclose(found, wanted, atol=1e-4)
        found = run_openvino(tmp_path / 'a.xml', x.numpy())
        assert np.allclose(found, wanted, atol=1e-4)


def test_a_network_that_cannot_have_free_sizes(tmp_path):
    part = network_part(FixedSize(), replace(CARD, shape=None))
    with pytest.raises(DeployError, match='choose --shape HEIGHT WIDTH'):
        onnx_graph.to_onnx(part, tmp_path / 'a.onnx')


def test_ctrl_c_while_openvino_converts():
    class Stopped(nn.Module):
        def forward(self, x):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        openvino_graph.to_openvino(network_part(Stopped(), CARD))

    class Broken(nn.Module):
        def forward(self, x):
            raise ValueError('no such layer')

    with pytest.raises(DeployError, match='cannot be converted to OpenVINO'):
        openvino_graph.to_openvino(network_part(Broken(), CARD))


def test_nothing_is_sent(monkeypatch):
    """Conversion would report itself to its makers otherwise."""
    from openvino_telemetry.main import Telemetry
    from openvino_telemetry.utils.sender import TelemetrySender

    sent = []
    monkeypatch.setattr(TelemetrySender, 'send', lambda *args: sent.append(args))
    # as after a conversion of the program's own
    Telemetry(app_name='x', app_version='1', tid='t').consent = True
    openvino_graph.to_openvino(network_part(nn.Conv2d(3, 3, 1), CARD))
    assert sent == []
    assert Telemetry(app_name='x', app_version='1', tid='t').consent is False


def test_frames_of_their_own_size(tmp_path):
    card = replace(
        CARD,
        resize='keep_ratio',
        size=(40, 60),
        resize_backend='cv2',
        interpolation='bilinear',
        size_divisor=16,
        shape=None,
    )
    network = nn.Conv2d(3, 3, 1)
    parts = network_part(network, card), frame_part(card), mask_part(card)
    paths = [tmp_path / f'{i}.onnx' for i in range(4)]
    for part, path in zip(parts, paths):
        onnx_graph.to_onnx(part, path)
    onnx_graph.join(*paths)
    to = openvino_graph.to_openvino
    xml = tmp_path / 'a.xml'
    openvino_graph.save(openvino_graph.join(*map(to, parts)), xml, card)
    for shape in ((100, 77), (31, 90)):
        picture = frame(*shape)
        _, _, mask = in_torch(network, card, picture)
        assert (run_onnx(paths[3], frame=picture[None]) == mask).mean() > 0.999
        assert (run_openvino(xml, picture[None]) == mask).mean() > 0.999


def test_half_precision(network, onnx_parts, tmp_path):
    path = tmp_path / 'half.onnx'
    path.write_bytes(onnx_parts[0].read_bytes())
    onnx_graph.to_half(path)
    model = onnx.load(path)
    weights = {w.name: w.data_type for w in model.graph.initializer}
    assert weights['conv.weight'] == onnx.TensorProto.FLOAT16
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    x = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        wanted = network(x).numpy()
    found = run_onnx(path, image=x.numpy())
    assert 1e-6 < np.abs(found - wanted).max() < 1e-2
    # positions are marked already by OpenVINO where weights are halved
    card = replace(CARD, precision='fp16')
    to = openvino_graph.to_openvino
    full, half = tmp_path / 'full.xml', tmp_path / 'half.xml'
    for out, kind in ((full, CARD), (half, card)):
        parts = to(network_part(nn.Conv2d(3, 3, 9, padding=4), CARD))
        openvino_graph.save(openvino_graph.join(parts, to(frame_part(CARD))), out, kind)
    sizes = [p.with_suffix('.bin').stat().st_size for p in (full, half)]
    assert sizes[0] - sizes[1] > 3 * 3 * 81 * 2 - 64
    assert run_openvino(half, frame(50, 60)[None]).shape == (1, 3, 48, 64)


def test_the_card_replaces_another(onnx_parts, tmp_path):
    path = tmp_path / 'a.onnx'
    path.write_bytes(onnx_parts[0].read_bytes())
    onnx_graph.set_card(path, CARD)
    onnx_graph.set_card(path, replace(CARD, name='other'))
    entries = [(p.key, p.value) for p in onnx.load(path).metadata_props]
    assert [key for key, _ in entries] == [KEY]
    assert read_card(path).name == 'other'
