"""Several frames side by side: the same masks in the same order."""

import importlib
import runpy
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_mm.deploy import DefectSegmentor
from fastsegformer_mm.deploy.backends.choice import choose_overlap, choose_streams
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.threads import usable_cores

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))


@pytest.fixture(scope='module')
def model():
    _network, card = cases.make_network()
    return cases.small_network(), card


@pytest.fixture
def masks(model, backend):
    frames = [cases.frame(40 + k, 60, seed=k) for k in range(9)]
    with DefectSegmentor(model, backend, 'cpu', threads=1) as segmentor:
        return frames, [found.mask for found in segmentor(frames)]


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize(('streams', 'overlap'), [(1, True), (2, False), (2, True)])
def test_same_masks_in_order(model, backend, masks, streams, overlap):
    frames, expected = masks
    with DefectSegmentor(
        model, backend, 'cpu', threads=2, streams=streams, overlap=overlap
    ) as segmentor:
        described = segmentor.describe()
        assert (described['streams'], described['overlap']) == (streams, overlap)
        for several in (segmentor(frames), list(segmentor(iter(frames)))):
            assert len(several) == len(frames)
            for found, mask in zip(several, expected):
                assert found.mask.shape == mask.shape
                assert (found.mask != mask).sum() <= 2
        assert segmentor([]) == []
        one = segmentor(frames[0])
        assert (one.mask != expected[0]).sum() <= 2


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
class TestStreams:
    @pytest.fixture
    def segmentor(self, model, backend):
        with DefectSegmentor(model, backend, 'cpu', threads=2, streams=2) as segmentor:
            yield segmentor

    def test_side_by_side_and_no_more(self, monkeypatch, segmentor):
        infer, lock = segmentor.backend.infer, threading.Lock()
        running, most, slots = set(), [], set()
        both = threading.Barrier(2, timeout=30)

        def note(*inputs, slot):
            with lock:
                assert slot not in running
                running.add(slot)
                most.append(len(running))
                slots.add(slot)
            both.wait()
            try:
                return infer(*inputs, slot=slot)
            finally:
                with lock:
                    running.remove(slot)

        monkeypatch.setattr(segmentor.backend, 'infer', note)
        assert len(segmentor([cases.frame(seed=k) for k in range(6)])) == 6
        assert slots == {0, 1}
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

        def slow(*inputs, slot):
            begun.set()
            assert go.wait(30)
            return infer(*inputs, slot=slot)

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


class TestOverlap:
    @pytest.fixture
    def segmentor(self, model):
        with DefectSegmentor(
            model, 'openvino', 'cpu', threads=1, overlap=True
        ) as segmentor:
            yield segmentor

    def test_the_next_is_prepared_and_the_last_finished_meanwhile(
        self, monkeypatch, segmentor
    ):
        count = 5
        prepared, finished = ([threading.Event() for _ in range(count)] for _ in '12')
        infer, order, threads = segmentor.backend.infer, iter(range(count)), set()

        def after(work, events):
            events = iter(events)

            def noted(*args):
                done = work(*args)
                next(events).set()
                return done

            return noted

        def meanwhile(*inputs, slot):
            k = next(order)
            threads.add(threading.current_thread().name)
            assert all(event.wait(30) for event in prepared[k + 1 : k + 2])
            assert all(event.wait(30) for event in finished[max(k - 1, 0) : k])
            return infer(*inputs, slot=slot)

        for name, events in (('preprocess', prepared), ('postprocess', finished)):
            work = getattr(segmentor, name)
            monkeypatch.setattr(segmentor, name, after(work, events))
        monkeypatch.setattr(segmentor.backend, 'infer', meanwhile)
        found = segmentor([cases.frame(seed=k) for k in range(count)])
        assert len(found) == count
        assert [name.startswith('network') for name in threads] == [True]

    def test_one_at_a_time_in_the_network(self, monkeypatch, segmentor):
        infer, running, most = segmentor.backend.infer, [], []

        def note(*inputs, slot):
            running.append(slot)
            most.append(len(running))
            try:
                return infer(*inputs, slot=slot)
            finally:
                running.remove(slot)

        monkeypatch.setattr(segmentor.backend, 'infer', note)
        assert len(segmentor([cases.frame(seed=k) for k in range(9)])) == 9
        assert most == [1] * 9

    def test_frames_are_taken_a_little_ahead(self, segmentor):
        taken = []
        results = segmentor(taken.append(k) or cases.frame(seed=k) for k in range(20))
        next(results)
        assert len(taken) == 4
        results.close()

    def test_seconds_without_waiting(self, monkeypatch, segmentor):
        now, both = [0.0], threading.Barrier(2, timeout=30)
        infer, submit = segmentor.backend.infer, segmentor._network.submit
        took, handed = iter([100.0, 1.0]), iter(range(2))

        def slow(*inputs, slot):
            seconds = next(took)
            if seconds == 100:
                both.wait()
            now[0] += seconds
            return infer(*inputs, slot=slot)

        def hand_over(*work):
            future = submit(*work)
            if next(handed):
                both.wait()
            return future

        monkeypatch.setattr(segmentor.backend, 'infer', slow)
        monkeypatch.setattr(segmentor._network, 'submit', hand_over)
        clock = SimpleNamespace(perf_counter=lambda: now[0])
        module = importlib.import_module('fastsegformer_mm.deploy.segmentor')
        monkeypatch.setattr(module, 'time', clock)
        found = segmentor([cases.frame(), cases.frame(seed=1)])
        # the second one has waited for the first
        assert sorted(one.seconds['network'] for one in found) == [1, 100]

    def test_an_interrupted_call_leaves_no_frame_in_the_network(
        self, monkeypatch, segmentor
    ):
        infer, done = segmentor.backend.infer, []

        def slow(*inputs, slot):
            time.sleep(0.1)
            done.append(slot)
            return infer(*inputs, slot=slot)

        class Interrupted:
            def __init__(self, future):
                self.future = future

            def __getattr__(self, name):
                return getattr(self.future, name)

            def result(self):
                raise KeyboardInterrupt

        submit = segmentor._network.submit
        monkeypatch.setattr(segmentor.backend, 'infer', slow)
        monkeypatch.setattr(
            segmentor._network, 'submit', lambda *a: Interrupted(submit(*a))
        )
        with pytest.raises(KeyboardInterrupt):
            segmentor(cases.frame())
        assert len(done) == 1

    def test_errors_of_the_network_come_out(self, monkeypatch, segmentor):
        def broken(*inputs, slot):
            raise DeployError('the network died')

        monkeypatch.setattr(segmentor.backend, 'infer', broken)
        for _ in range(5):
            with pytest.raises(DeployError, match='the network died'):
                segmentor(cases.frame())

    def test_closed_twice(self, segmentor):
        segmentor(cases.frame())
        segmentor.close()
        segmentor.close()
        with pytest.raises(DeployError, match='has been closed'):
            segmentor(cases.frame())

    @pytest.mark.parametrize(
        ('backend', 'device', 'threads', 'streams', 'expected'),
        [
            ('openvino', 'cpu', 8, 1, True),
            ('onnxruntime', 'cpu', 2, 2, True),
            # threads that wait for each other spin
            ('onnxruntime', 'cpu', 2, 1, False),
            ('onnxruntime', 'cuda:0', 1, 1, False),
            ('torch', 'cpu', 1, 1, False),
            ('compile', 'cuda:0', 1, 1, False),
        ],
    )
    def test_where_it_gains(self, backend, device, threads, streams, expected):
        assert choose_overlap('auto', backend, device, threads, streams) == expected

    def test_as_asked(self):
        assert choose_overlap(True, 'onnxruntime', 'cpu', 2, 1)
        assert not choose_overlap(False, 'openvino', 'cpu', 2, 1)
        assert choose_overlap('auto', 'onnxruntime', 'cpu', None, usable_cores())

    @pytest.mark.parametrize(
        ('overlap', 'message'),
        [
            (True, "overlap=True of the backend 'torch' on cpu; expected False"),
            ('yes', "overlap='yes'; expected True, False or 'auto'"),
        ],
    )
    def test_refused(self, model, overlap, message):
        with pytest.raises(DeployError, match=message):
            DefectSegmentor(model, 'torch', 'cpu', overlap=overlap)


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
