"""What a worker builds, times and gives, and the frames that it gets."""

import importlib
import runpy
import threading
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from fastsegformer_mm.deploy import ModelCard
from fastsegformer_mm.deploy.benchmark.combination import Combination, Model
from fastsegformer_mm.deploy.benchmark.evaluate import evaluate
from fastsegformer_mm.deploy.benchmark.frames import read_frames, synthetic_frames
from fastsegformer_mm.deploy.benchmark.reference_loop import ReferenceLoop
from fastsegformer_mm.deploy.benchmark.subject import STAGES, Subject, build
from fastsegformer_mm.deploy.errors import DeployError

case = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parent / 'benchmark_case.py'))
)
COLOURS = ((0, 0, 0), (9, 0, 0), (0, 9, 0), (0, 0, 9))


@pytest.fixture
def config(tmp_path):
    return case.write_config(tmp_path)


class Ramp(torch.nn.Module):
    """Logits of two classes: 0, and the red of a pixel above a half."""

    def forward(self, image):
        red = 8 * (image[:, :1] - 0.5)
        return torch.cat([torch.zeros_like(red), red], 1)


@pytest.fixture
def loop():
    card = ModelCard('ramp', ('a', 'b'), COLOURS[:2], (32, 32))
    return ReferenceLoop(Ramp(), card)


def test_stages_are_timed_apart_and_after_warmups(loop):
    now, calls = [0.0], []

    class Slow:
        card = loop.card

        def preprocess(self, frame, out=None):
            calls.append('pre')
            now[0] += 1
            return loop.preprocess(frame)

        def backend(self, image):
            calls.append('net')
            now[0] += 10
            return loop.backend(image)

        def postprocess(self, logits, where):
            calls.append('post')
            now[0] += 100
            return loop.postprocess(logits, where)

        def segment(self, frame):
            image, where = self.preprocess(frame)
            return self.postprocess(self.backend(image), where)

    frames = np.zeros((2, 24, 32, 3), np.uint8)
    subject = Subject(Slow(), frames, clock=lambda: now[0])
    calls.clear()
    found = subject.measure(warmups=3, runs=2)
    assert found == {
        'preprocess': [1, 1],
        'network': [10, 10],
        'postprocess': [100, 100],
        'pipeline': [111, 111],
    }
    # one that fetches memory to write into, then each stage, then all of them
    assert (
        calls == ['pre'] * 6 + ['net'] * 5 + ['post'] * 5 + ['pre', 'net', 'post'] * 5
    )


@pytest.mark.parametrize(('streams', 'in_flight'), [(1, 2), (2, 2), (2, 4)])
def test_side_by_side_is_the_time_of_many_by_their_number(loop, streams, in_flight):
    now, calls, lock = [0.0], [], threading.Lock()

    class Backend:
        def infer(self, image, slot=0):
            with lock:
                now[0] += 5
                calls.append(slot)
            return loop.backend(image)

    class Streams:
        card, backend = loop.card, Backend()
        preprocess, postprocess = loop.preprocess, loop.postprocess

        def __call__(self, frames):
            calls.append(len(frames))
            now[0] += 7 * len(frames)

    frames = np.zeros((3, 24, 32, 3), np.uint8)
    segmentor = Streams()
    segmentor.streams, segmentor.in_flight = streams, in_flight
    subject = Subject(segmentor, frames, clock=lambda: now[0])
    calls.clear()
    found = subject.measure(warmups=32 * streams, runs=3)
    assert found['network'] == [5, 5, 5]
    assert found['pipeline'] == [7, 7, 7]
    assert found['preprocess'] == [0, 0, 0]
    # bursts of 16 frames a stream: the warm-ups are two of them
    assert all(calls.count(slot) == 16 * (2 + 3) for slot in range(streams))
    assert calls[-5:] == [16 * streams] * 5


@pytest.mark.parametrize('streams', [1, 2])
def test_side_by_side_for_real(config, streams):
    combination = Combination(Model('t', str(config)), 'openvino', streams=streams)
    segmentor, _ = build(combination, 2, 'cpu')
    assert (segmentor.streams, segmentor.overlap) == (streams, True)
    frames = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), np.uint8)
    with segmentor:
        subject = Subject(segmentor, frames)
        found = subject.measure(warmups=1, runs=2)
        assert all(len(found[stage]) == 2 for stage in STAGES)
        assert min(min(values) for values in found.values()) > 0
        masks = subject.outputs()['masks']
    alone, _ = build(Combination(Model('t', str(config)), 'openvino'), 1, 'cpu')
    with alone:
        assert (masks != Subject(alone, frames).outputs()['masks']).mean() < 1e-3


def test_a_runtime_that_writes_into_the_same_memory_again(loop):
    buffer = np.zeros((1, 2, 32, 32), np.float32)

    class Backend:
        def infer(self, image):
            np.copyto(buffer, loop.backend(image))
            return buffer

    shared = SimpleNamespace(
        card=loop.card, preprocess=loop.preprocess, backend=Backend(),
        postprocess=loop.postprocess, segment=loop.segment,
    )  # fmt: skip
    frames = np.stack([np.full((32, 32, 3), v, np.uint8) for v in (0, 255)])
    logits = Subject(shared, frames).outputs()['logits']
    assert logits[:, 1].min(axis=(1, 2)).tolist() == [-4, 4]
    shared.card = ModelCard('m', ('a', 'b'), COLOURS[:2], (32, 32), with_post=True)
    assert set(Subject(shared, frames).outputs()) == {'masks'}


def test_reference_loop_by_hand(loop):
    frame = np.zeros((40, 80, 3), np.uint8)
    frame[:, 40:, 2] = 255  # red, on the right
    image, where = loop.preprocess(frame)
    assert (where.top, where.left, where.size) == (8, 0, (16, 32))
    assert image.shape == (1, 3, 32, 32)
    # grey above and below
    np.testing.assert_allclose(image[0, :, [0, 7, 24, 31]], 128 / 255, rtol=1e-6)
    assert image[0, 0, 16, [0, 31]].tolist() == [0, 1]
    assert image[0, 1:, 16].max() == 0
    mask = loop.segment(frame)
    assert mask.dtype == np.uint8
    assert mask.shape == (40, 80)
    # a pixel of the network stands for two and a half of the frame
    assert not mask[:, :38].any()
    assert mask[:, 42:].all()


def test_reference_loop_resizes_probabilities_of_all_classes(loop):
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(1, 2, 32, 32, generator=generator)
    _, where = loop.preprocess(np.zeros((48, 64, 3), np.uint8))
    planes = logits[0].softmax(0)[:, 4:28]
    planes = [cv2.resize(p.numpy(), (64, 48)) for p in planes]
    expected = np.argmax(planes, 0)
    found = loop.postprocess(logits, where)
    assert 0.2 < expected.mean() < 0.8
    np.testing.assert_array_equal(found, expected)

    # one channel for two classes
    card = ModelCard('m', ('a', 'b'), COLOURS[:2], (32, 32), threshold=0.75)
    single = ReferenceLoop(Ramp(), card)
    plane = cv2.resize(logits[0, 0, 4:28].sigmoid().numpy(), (64, 48))
    np.testing.assert_array_equal(
        single.postprocess(logits[:, :1], where), plane > 0.75
    )


def test_same_network_in_every_process(config):
    model = Model('tiny', str(config))
    torch.manual_seed(5)
    first, network = build(Combination(model, 'torch'), 1, 'cpu')
    torch.manual_seed(6)
    second, _ = build(Combination(model, 'torch+reparam'), 1, 'cpu')
    image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    expected = first.backend(image)
    np.testing.assert_allclose(
        second.backend(image), expected, atol=1e-4 * np.abs(expected).max()
    )
    # as trained, and folded
    norms = [
        sum(isinstance(m, torch.nn.BatchNorm2d) for m in s.network.modules())
        for s in (first, second)
    ]
    assert norms[0] > 0 == norms[1]
    assert first.network is network


@pytest.mark.parametrize(
    ('backend', 'passes', 'folded'),
    [('torch', (), False), ('openvino', (), False), ('openvino', None, True),
     ('torch', ('conv_bn',), True)],
)  # fmt: skip
def test_passes_that_a_runtime_gets(config, monkeypatch, backend, passes, folded):
    module = importlib.import_module('fastsegformer_mm.deploy.benchmark.subject')
    seen = []
    monkeypatch.setattr(
        module, 'DefectSegmentor', lambda *a, **more: seen.append((a, more))
    )
    combination = Combination(Model('t', str(config)), backend, 'bf16', passes, 3)
    build(combination, 1, 'cpu')
    (((network, card), *others), more) = seen[0]
    assert more == {'streams': 3, 'overlap': 'auto'}
    assert others == [backend, 'cpu', 1, 'bf16']
    assert card.random_weights
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert (not norms) == folded


def test_miou_on_the_test_set(config):
    kept = []
    found = evaluate(
        config, lambda frame: (frame[..., 0] > 30).astype(np.uint8), keep=kept.append
    )
    assert found['mIoU'] == 100.0
    assert found['images'] == 2
    assert [mask.mean() for mask in kept] == [0, 1]
    # half of one image wrong: IoU 2/3 of the background, 1/2 of the defect
    half = np.zeros((40, 48), np.uint8)
    half[:20] = 1
    found = evaluate(config, lambda frame: half * (frame[0, 0, 0] > 30))
    assert found['mIoU'] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2, abs=0.01)
    with pytest.raises(DeployError, match='its test set'):
        evaluate(config, None, {'test_dataloader.dataset.data_root': '/nowhere'})


def test_frames_of_a_folder(tmp_path):
    (tmp_path / 'deep').mkdir()
    for i in range(5):
        cv2.imwrite(
            str(tmp_path / f'deep/{i}.PNG'), np.full((9, 9, 3), 50 * i, np.uint8)
        )
    (tmp_path / 'notes.txt').touch()
    frames = read_frames(tmp_path, (24, 32), 3)
    assert frames.shape == (3, 24, 32, 3)
    assert frames[:, 0, 0, 0].tolist() == [0, 100, 200]
    assert len(read_frames(tmp_path, (24, 32), 100)) == 5
    (tmp_path / 'deep/9.png').write_bytes(b'broken')
    with pytest.raises(DeployError, match=r'9.png: cannot be read'):
        read_frames(tmp_path, (24, 32), 100)
    with pytest.raises(DeployError, match=r'--images .*notes.txt: expected a folder'):
        read_frames(tmp_path / 'notes.txt', (24, 32), 3)


def test_synthetic_frames_are_the_same_and_different():
    frames = synthetic_frames((64, 80), 2)
    assert frames.shape == (2, 64, 80, 3)
    np.testing.assert_array_equal(frames, synthetic_frames((64, 80), 2))
    assert (frames[0] != frames[1]).any()
    # orange in BGR
    assert frames[0, 28:36, 36:44, 2].mean() > frames[0, 28:36, 36:44, 0].mean()
