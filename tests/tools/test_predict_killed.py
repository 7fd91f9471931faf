"""The command in a process of its own that is interrupted or killed."""

import csv
import multiprocessing
import os
import runpy
import signal
import time
from pathlib import Path

import pytest

from fastsegformer_mm.deploy.prediction import options

WORKER = Path(__file__).with_name('predict_worker.py')
TESTS = Path(__file__).parents[1]
cases = runpy.run_path(str(TESTS / 'deploy/prediction_cases.py'))
tool = runpy.run_path(str(WORKER))['tool']
ColourSegmentor, lines, report = (
    cases[name] for name in ('ColourSegmentor', 'lines', 'report')
)
read_video, write_images, write_video = (
    cases[name] for name in ('read_video', 'write_images', 'write_video')
)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    """Starts the tool in a process of its own, out of one that has imported it all."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(
        ['fastsegformer_mm.deploy.prediction', 'fastsegformer_mm.deploy.segmentor']
    )

    def run_tool(*args, answers=10**9):
        log = tmp_path_factory.mktemp('log') / 'stderr.txt'
        job = (['m.onnx', *map(str, args)], str(log), answers)
        process = context.Process(
            target=runpy.run_path, args=(str(WORKER), {'job': job}, '__main__')
        )
        process.start()
        return process, log

    return run_tool


def wait_for_records(process, out, count):
    deadline = time.monotonic() + 120
    path = out / 'defects.jsonl'
    while not path.exists() or path.read_bytes().count(b'\n') < count:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_a_signal_leaves_playable_video_and_whole_files(tmp_path, start, name):
    out = tmp_path / 'out'
    write_video(tmp_path / 'belt.mkv', 400)
    process, log = start(tmp_path / 'belt.mkv', '--out', out)
    wait_for_records(process, out, 5)
    os.kill(process.pid, getattr(signal, name))
    process.join(60)
    assert process.exitcode == options.INTERRUPTED
    assert 'stopping: what is in work is completed' in log.read_text()
    found = lines(out)
    assert 5 <= len(found) < 400
    assert [r['frame'] for r in found] == list(range(len(found)))
    assert len(read_video(out / 'overlays/belt.mp4')) == len(found)
    assert len(read_video(out / 'masks/belt.mkv')) == len(found)
    with open(out / 'defects.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [int(r['frame']) for r in rows[::2]] == [r['frame'] for r in found]
    assert report(out)['status'] == 'interrupted'
    assert not list(out.rglob('*.tmp*'))


def test_a_kill_loses_nothing(tmp_path, start):
    out = tmp_path / 'out'
    names = [f'{k:03d}.png' for k in range(120)]
    write_images(tmp_path / 'photos', names)
    process, _ = start(tmp_path / 'photos', '--out', out)
    wait_for_records(process, out, 20)
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    # as a kill within a write leaves it
    with open(out / 'defects.jsonl', 'ab') as file:
        file.write(b'{"source": "11')
    before = len(lines_that_are(out))
    assert 20 <= before < 120
    args = ['m.onnx', str(tmp_path / 'photos'), '--out', str(out)]
    assert tool.main(args, lambda *a, **k: ColourSegmentor()) == 0
    assert sorted(r['source'] for r in lines(out)) == names
    assert report(out)['skipped'] == before
    with open(out / 'defects.csv', newline='') as file:
        assert len(list(csv.DictReader(file))) == 240
    assert sorted(p.name for p in (out / 'masks').iterdir()) == names


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_a_network_that_never_answers_is_left(tmp_path, start, name):
    out = tmp_path / 'out'
    names = [f'{k:02d}.png' for k in range(12)]
    write_images(tmp_path / 'photos', names)
    process, log = start(tmp_path / 'photos', '--out', out, answers=5)
    wait_for_records(process, out, 5)
    os.kill(process.pid, getattr(signal, name))
    process.join(60)
    assert process.exitcode == options.INTERRUPTED
    assert 'interrupted: what was in work is given up' in log.read_text()
    assert [r['source'] for r in lines(out)] == names[:5]
    # the same command goes on from there
    args = ['m.onnx', str(tmp_path / 'photos'), '--out', str(out)]
    assert tool.main(args, lambda *a, **k: ColourSegmentor()) == 0
    assert [r['source'] for r in lines(out)] == names
    assert report(out)['skipped'] == 5


def lines_that_are(out):
    return [x for x in (out / 'defects.jsonl').read_bytes().split(b'\n')[:-1] if x]
