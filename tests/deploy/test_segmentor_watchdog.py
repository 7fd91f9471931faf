"""First calls one after the other, and a network that does not answer."""

import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_mm.deploy import DefectSegmentor, segmentor
from fastsegformer_mm.deploy.backends.openvino_backend import OpenVinoBackend
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import Prediction, RunFolder, find_inputs
from fastsegformer_mm.deploy.threads import DaemonPool

HERE = Path(__file__).parent
cases = SimpleNamespace(**runpy.run_path(str(HERE / 'segmentor_cases.py')))
write_images = runpy.run_path(str(HERE / 'prediction_cases.py'))['write_images']


@pytest.fixture(scope='module')
def model():
    _network, card = cases.make_network()
    return cases.small_network(), card


@pytest.fixture
def go():
    """Frees the networks that a test has stopped."""
    event = threading.Event()
    yield event
    event.set()


def stop_network(segmentor, event):
    infer, segmentor.timeout = segmentor.backend.infer, 0.5

    def stuck(*inputs, slot):
        event.wait()
        return infer(*inputs, slot=slot)

    segmentor.backend.infer = stuck


@pytest.mark.parametrize(('streams', 'overlap'), [(1, False), (2, True)])
def test_every_slot_is_used_once_before_the_first_call(
    monkeypatch, model, streams, overlap
):
    infer, slots, at_once = OpenVinoBackend.infer, [], threading.Lock()

    def note(self, *inputs, slot):
        assert at_once.acquire(blocking=False)
        slots.append((slot, inputs[0].shape))
        try:
            return infer(self, *inputs, slot=slot)
        finally:
            at_once.release()

    monkeypatch.setattr(OpenVinoBackend, 'infer', note)
    with DefectSegmentor(
        model, 'openvino', 'cpu', threads=2, streams=streams, overlap=overlap
    ) as segmentor:
        expected = [(slot, (1, 3, 64, 64)) for slot in range(segmentor.in_flight)]
        assert slots == expected


def test_timeout(model):
    with DefectSegmentor(model, 'torch', 'cpu', timeout=40) as segmentor:
        assert segmentor.timeout == 40


@pytest.mark.parametrize('backend', ['torch', 'onnxruntime', 'openvino'])
def test_no_answer_is_an_error_within_the_timeout(model, backend, go):
    with DefectSegmentor(model, backend, 'cpu', threads=1) as segmentor:
        stop_network(segmentor, go)
        start = time.perf_counter()
        expected = (
            f'not answered within 0.5 s on {backend}; start again with streams=1 '
            r'\(--streams 1\) or another backend \(--backend\)'
        )
        with pytest.raises(DeployError, match=expected) as raised:
            segmentor(cases.frame())
        assert 0.5 <= time.perf_counter() - start < 10
        assert str(raised.value).startswith(segmentor.card.name)
        # at once: the memory of the call belongs to it
        with pytest.raises(DeployError, match='not answered'):
            segmentor([cases.frame()])
    with pytest.raises(DeployError, match='not answered'):
        segmentor(cases.frame())


def test_all_calls_end(model, go):
    with DefectSegmentor(
        model, 'openvino', 'cpu', threads=2, streams=2, overlap=True
    ) as segmentor:
        stop_network(segmentor, go)
        with pytest.raises(DeployError, match='not answered'):
            segmentor([cases.frame()] * 9)


def test_a_prediction_ends(model, tmp_path, go):
    write_images(tmp_path / 'photos', [f'{k}.png' for k in range(9)])
    with DefectSegmentor(
        model, 'openvino', 'cpu', threads=2, streams=2, overlap=True
    ) as segmentor:
        stop_network(segmentor, go)
        with RunFolder(tmp_path / 'out', {}) as folder:
            inputs = find_inputs([str(tmp_path / 'photos')])
            outcome = Prediction(segmentor, inputs, folder).run()
    assert isinstance(outcome.error, DeployError)
    assert 'not answered within 0.5 s' in str(outcome.error)
    assert outcome.frames == 0


def test_an_interruption_does_not_wait_for_it(monkeypatch, model, go):
    def interrupted(futures, timeout):
        if timeout != 0.2:
            raise KeyboardInterrupt
        return waiting(futures, timeout)

    waiting = segmentor.wait
    with DefectSegmentor(model, 'openvino', 'cpu', threads=1) as one:
        stop_network(one, go)
        monkeypatch.setattr(segmentor, 'wait', interrupted)
        monkeypatch.setattr(segmentor, 'MOMENT', 0.2)
        with pytest.raises(KeyboardInterrupt):
            one(cases.frame())
        with pytest.raises(DeployError, match='not answered'):
            one(cases.frame())


def test_a_stuck_thread_does_not_keep_the_process():
    code = """
import sys, threading
from fastsegformer_mm.deploy.threads import DaemonPool
pool = DaemonPool(1, 'network')
started = threading.Event()
pool.submit(lambda: started.set() or threading.Event().wait())
started.wait()
sys.exit(3)
"""
    assert subprocess.run([sys.executable, '-c', code], timeout=300).returncode == 3


class TestDaemonPool:
    def test_results_and_errors(self):
        pool = DaemonPool(2, 'power')
        futures = [pool.submit(pow, 2, k) for k in range(5)]
        assert [future.result(30) for future in futures] == [1, 2, 4, 8, 16]
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result(30)
        assert pool.submit(pow, 2, 5).result(30) == 32

    def test_as_many_threads_as_asked(self):
        pool, both = DaemonPool(2, 'two'), threading.Barrier(2, timeout=30)
        names = [
            pool.submit(lambda: both.wait() < 2 and threading.current_thread().name)
            for _ in range(4)
        ]
        assert {future.result(30) for future in names} == {'two_0', 'two_1'}

    def test_shut_down(self):
        pool, go = DaemonPool(1, 'last'), threading.Event()
        first = pool.submit(go.wait, 30)
        second = pool.submit(threading.current_thread)
        pool.shutdown()
        pool.shutdown()
        with pytest.raises(RuntimeError, match="'last' has been shut down"):
            pool.submit(pow, 2, 3)
        go.set()
        assert first.result(30)
        thread = second.result(30)
        thread.join(30)
        assert not thread.is_alive()

    def test_forgotten(self):
        pool = DaemonPool(2, 'forgotten')
        both = threading.Barrier(2, timeout=30)
        threads = [
            pool.submit(lambda: both.wait() < 2 and threading.current_thread())
            for _ in range(2)
        ]
        threads = [future.result(30) for future in threads]
        del pool
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()

    def test_nothing_is_kept_of_a_job(self):
        class Job:
            def __call__(self):
                return 1

        pool, job = DaemonPool(1, 'kept'), Job()
        before = sys.getrefcount(job)
        for _ in range(20):
            assert pool.submit(job).result(30) == 1
            assert sys.getrefcount(job) == before
