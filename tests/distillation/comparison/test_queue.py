"""Runs in their order, some side by side, and why one has failed."""

import os
import threading
from pathlib import Path

from fastsegformer_mm.distillation.comparison import queue, worker
from fastsegformer_mm.distillation.comparison.results import Run, write_json


class Fake:
    """Stands for a process: ends after so many looks at it."""

    looks = {}
    running = 0
    most = 0

    def __init__(self, run, threads):
        self.run, self.left = run, self.looks.get(run.seed, 1)
        self.threads = threads
        Fake.running += 1
        Fake.most = max(Fake.most, Fake.running)

    def poll(self):
        self.left -= 1
        if self.left > 0:
            return None
        Fake.running -= 1
        result = dict(digest=self.run.digest, teacher=None, metrics=dict(mIoU=50.0))
        write_json(self.run.folder / 'result.json', result)
        return 0

    def stop(self):
        raise AssertionError('nothing is left to stop')


def runs(folder, count=4):
    return [Run(folder / f'seed-{k}', 'kl', k, dict(seed=k)) for k in range(count)]


def test_two_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(Fake, 'looks', {0: 4, 1: 1, 2: 1, 3: 1})
    monkeypatch.setattr(queue.time, 'sleep', lambda seconds: None)
    for jobs, order in ((1, [0, 1, 2, 3]), (2, [1, 2, 3, 0])):
        Fake.most = 0
        said = []
        outcome = queue.work_off(
            runs(tmp_path / str(jobs)), jobs, 3, None, said.append, Fake)
        assert [run.seed for run in outcome.done] == order
        assert Fake.most == jobs
        assert Fake.running == 0
        assert [line for line in said if 'starts' in line] == [
            f'[{k + 1}/4] kl, seed {k} starts' for k in range(4)]
        job = runs(tmp_path / str(jobs))[0].result()
        assert job['metrics'] == dict(mIoU=50.0)
        written = (tmp_path / str(jobs) / 'seed-0/job.json').read_text()
        assert f'"side_by_side": {"true" if jobs == 2 else "false"}' in written
        assert '"threads": 3' in written


def test_what_runs_when_the_time_is_up_is_waited_for(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(queue.time, 'monotonic', lambda: now[0])
    monkeypatch.setattr(
        queue.time, 'sleep', lambda seconds: now.__setitem__(0, now[0] + 10))
    monkeypatch.setattr(Fake, 'looks', {0: 4})
    said = []
    outcome = queue.work_off(runs(tmp_path), 1, 1, 15.0, said.append, Fake)
    assert [run.seed for run in outcome.done] == [0]
    assert [run.seed for run in outcome.left] == [1, 2, 3]
    assert not outcome.interrupted
    assert said == ['[1/4] kl, seed 0 starts',
                    'the time is up: 3 runs are not started',
                    'kl, seed 0: mIoU 50.00, 30 s']


def test_reasons(tmp_path):
    run = runs(tmp_path)[0]
    log = tmp_path / 'seed-0/log.txt'
    assert queue.explain(run, 3) == f'exit code 3; see {log}'
    log.parent.mkdir()
    log.write_text('first\nValueError: no \xe9\n \n', encoding='latin1')
    assert queue.explain(run, 1) == f'ValueError: no \ufffd; see {log}'
    assert queue.explain(run, -9) == (
        f'ended by signal 9, most often for lack of memory; see {log}')
    assert queue.explain(run, -15) == f'ended by signal 15; see {log}'
    assert queue.explain(run, 0) == f'ended without result.json; see {log}'


def test_a_worker_ends_with_its_parent(monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(worker.os, '_exit', lambda code: ended.set())
    ours, theirs = os.pipe()
    worker.end_with(ours)
    assert not ended.wait(0.05)
    os.close(theirs)
    assert ended.wait(10)
    os.close(ours)


def test_the_worker_is_where_the_queue_looks():
    assert Path(worker.__file__).stem == queue.WORKER.rpartition('.')[2]
    assert worker.__name__ == queue.WORKER
