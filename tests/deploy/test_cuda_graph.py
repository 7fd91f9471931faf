"""CUDA graphs: what can be shown without a GPU, and the rest where one is."""

import contextlib

import pytest
import torch
from torch import nn

from fastsegformer_mm.deploy.backends import cuda_graph
from fastsegformer_mm.deploy.backends.cuda_graph import CudaGraphs, Recording


class FakeGraph:
    """Replays by calling again what was recorded, into the same memory."""

    recorded = None

    def replay(self):
        self.recorded()


@pytest.fixture
def fake_gpu(monkeypatch):
    """torch.cuda on the CPU: graphs run their network on the staged buffer again."""
    events = []

    class Stream:
        def __init__(self, device=None):
            pass

        def wait_stream(self, other):
            events.append('wait')

        def synchronize(self):
            events.append('synchronize')

    @contextlib.contextmanager
    def capture(graph, stream=None):
        assert isinstance(stream, Stream)
        events.append('capture')
        yield
        events.append('captured')

    empty = torch.empty
    monkeypatch.setattr(
        cuda_graph.torch, 'empty', lambda shape, pin_memory: empty(shape)
    )
    monkeypatch.setattr(torch.cuda, 'Stream', Stream)
    monkeypatch.setattr(torch.cuda, 'current_stream', lambda device: Stream())
    monkeypatch.setattr(torch.cuda, 'stream', lambda s: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, 'CUDAGraph', FakeGraph)
    monkeypatch.setattr(torch.cuda, 'graph', capture)
    return events


def record(network, shape):
    recording = Recording(network, shape)

    def again():
        dtype = next(network.parameters()).dtype
        recording.output.copy_(network(recording.staged.to(dtype)))

    recording.graph.recorded = again
    return recording


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([2.0]))
        self.seen = []

    def forward(self, image):
        self.seen.append((image.data_ptr(), image.dtype))
        return image * self.scale


@torch.no_grad()
def test_staged_and_fetched(fake_gpu):
    network = Counted()
    recording = record(network, (1, 3, 4, 4))
    warmed = fake_gpu.index('synchronize')
    assert warmed < fake_gpu.index('capture')
    assert len(network.seen) == cuda_graph.WARM_UPS + 1
    images = [torch.full((1, 3, 4, 4), value) for value in (1.0, 5.0)]
    pinned = recording.pinned.data_ptr()
    first = recording(images[0])
    assert first.unique().tolist() == [2.0]
    second = recording(images[1])
    assert second.unique().tolist() == [10.0]
    # every run reads the one buffer that the graph was recorded with
    assert {address for address, _ in network.seen} == {recording.staged.data_ptr()}
    assert second.data_ptr() == first.data_ptr() == recording.fetched.data_ptr()
    # the GPU fetches by itself from pinned memory only
    assert recording.pinned.data_ptr() == pinned
    assert fake_gpu[-1] == 'synchronize'


@torch.no_grad()
def test_half_precision_inside_only(fake_gpu):
    network = Counted().bfloat16()
    recording = record(network, (1, 3, 4, 4))
    out = recording(torch.ones(1, 3, 4, 4))
    assert {dtype for _, dtype in network.seen} == {torch.bfloat16}
    assert out.dtype == recording.staged.dtype == torch.float32
    assert out.unique().tolist() == [2.0]


def test_one_recording_a_size():
    made = []

    def fake(network, shape):
        made.append((network, shape))
        return lambda image: image + len(shape)

    graphs = CudaGraphs('network', fake)
    for side in (8, 8, 16, 8):
        out = graphs(torch.zeros(1, 3, side, side))
        assert out.unique().tolist() == [4.0]
    assert made == [('network', (1, 3, 8, 8)), ('network', (1, 3, 16, 16))]
