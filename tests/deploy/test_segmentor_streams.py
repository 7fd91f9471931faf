"""Several frames side by side: the same masks in the same order."""

import runpy
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_mm.deploy import DefectSegmentor
from fastsegformer_mm.deploy.backends.choice import choose_streams
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.threads import usable_cores

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))


@pytest.fixture(scope='module')
def model():
    _network, card = cases.make_network()
    return cases.small_network(), card


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
class TestStreams:
    @pytest.fixture
    def segmentor(self, model, backend):
        with DefectSegmentor(model, backend, 'cpu', threads=2, streams=2) as segmentor:
            yield segmentor

    @pytest.fixture
    def masks(self, model, backend):
        frames = [cases.frame(40 + k, 60, seed=k) for k in range(9)]
        with DefectSegmentor(model, backend, 'cpu', threads=1) as segmentor:
            return frames, [found.mask for found in segmentor(frames)]

    def test_same_masks_in_order(self, segmentor, masks):
        frames, expected = masks
        assert segmentor.describe()['streams'] == 2
        for several in (segmentor(frames), list(segmentor(iter(frames)))):
            assert len(several) == len(frames)
            for found, mask in zip(several, expected):
                assert found.mask.shape == mask.shape
                assert (found.mask != mask).sum() <= 2
        assert segmentor([]) == []
        one = segmentor(frames[0])
        assert (one.mask != expected[0]).sum() <= 2

    def test_side_by_side_and_no_more(self, monkeypatch, segmentor):
        infer, lock = segmentor.backend.infer, threading.Lock()
        running, most, streams = set(), [], set()
        both = threading.Barrier(2, timeout=30)

        def note(*inputs, stream):
            with lock:
                assert stream not in running
                running.add(stream)
                most.append(len(running))
                streams.add(stream)
            both.wait()
            try:
                return infer(*inputs, stream=stream)
            finally:
                with lock:
                    running.remove(stream)

        monkeypatch.setattr(segmentor.backend, 'infer', note)
        assert len(segmentor([cases.frame(seed=k) for k in range(6)])) == 6
        assert streams == {0, 1}
        assert max(most) == 2

    def test_frames_are_taken_a_little_ahead(self, segmentor):
        taken = []

        def frames():
            for k in range(20):
                taken.append(k)
                yield cases.frame(seed=k)

        results = segmentor(frames())
        assert taken == []
        next(results)
        assert len(taken) == 4
        next(results)
        assert len(taken) == 5
        results.close()
        assert len(taken) == 5

    def test_results_before_a_broken_frame(self, segmentor):
        def frames():
            yield cases.frame()
            yield cases.frame(seed=1)
            raise OSError('the camera is gone')

        found = []
        with pytest.raises(OSError, match='the camera is gone'):
            found.extend(segmentor(frames()))
        assert len(found) == 2
        found = []
        with pytest.raises(DeployError, match='a frame is str'):
            found.extend(segmentor(iter([cases.frame(), 'orange.jpg'])))
        assert len(found) == 1

    def test_close_waits_for_what_runs(self, monkeypatch, segmentor):
        infer, begun, go = segmentor.backend.infer, threading.Event(), threading.Event()

        def slow(*inputs, stream):
            begun.set()
            assert go.wait(30)
            return infer(*inputs, stream=stream)

        monkeypatch.setattr(segmentor.backend, 'infer', slow)
        found = []
        work = threading.Thread(target=lambda: found.append(segmentor(cases.frame())))
        work.start()
        assert begun.wait(30)
        closers = [threading.Thread(target=segmentor.close) for _ in range(2)]
        for closer in closers:
            closer.start()
        closers[0].join(0.2)
        assert segmentor.backend is not None
        go.set()
        for thread in (work, *closers):
            thread.join(30)
        assert len(found) == 1
        with pytest.raises(DeployError, match='has been closed'):
            segmentor([cases.frame()])


class TestNumberOfStreams:
    @pytest.mark.parametrize(
        ('backend', 'device', 'threads', 'expected'),
        [
            ('openvino', 'cpu', 3, 3),
            ('onnxruntime', 'cpu', 16, 4),
            ('onnxruntime', 'cuda:0', 16, 1),
            ('torch', 'cpu', 16, 1),
            ('compile', 'cpu', 16, 1),
        ],
    )
    def test_auto(self, backend, device, threads, expected):
        assert choose_streams('auto', backend, device, threads) == expected

    def test_as_many_as_asked(self):
        assert choose_streams(2, 'openvino', 'cpu', 2) == 2
        assert choose_streams(1, 'torch', 'cuda:0', None) == 1
        assert choose_streams('auto', 'openvino', 'cpu', None) == min(usable_cores(), 4)

    @pytest.mark.parametrize(
        ('streams', 'backend', 'message'),
        [
            (0, 'openvino', 'streams=0; expected a number of at least 1'),
            ('two', 'openvino', "streams='two'; expected a number"),
            (2, 'torch', "streams=2 of the backend 'torch' on cpu; expected 1"),
            (3, 'openvino', 'streams=3 with threads=2; expected at most one a thread'),
        ],
    )
    def test_refused(self, model, streams, backend, message):
        with pytest.raises(DeployError, match=message):
            DefectSegmentor(model, backend, 'cpu', threads=2, streams=streams)
