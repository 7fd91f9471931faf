"""Two workers of Ray, one of them killed: every image once, as predict.py has it."""

import csv
import functools
import json
import os
import runpy
import shutil
from pathlib import Path

import cv2
import pytest

from fastsegformer_mm.deploy.prediction import RunFolder, find_inputs
from fastsegformer_mm.deploy.prediction.ray_prediction import RayPrediction
from fastsegformer_mm.deploy.prediction.ray_session import check_room, ray_session

HERE = Path(__file__).parent
TOOLS = HERE.parents[1] / 'tools'
case = runpy.run_path(str(HERE / 'ray_case.py'))
PlannedSegmentor = case['PlannedSegmentor']
lines, report, write_images = (
    case['cases'][name] for name in ('lines', 'report', 'write_images')
)
predict = runpy.run_path(str(TOOLS / 'predict.py'))['main']
predict_ray = runpy.run_path(str(TOOLS / 'predict_ray.py'))['main']
BROKEN = {'1/broken.jpg': b'no image', '2/empty.png': b''}


@pytest.fixture(scope='module', autouse=True)
def ray():
    # for all tests: its start takes most of the time
    with ray_session(cpus=2) as ray:
        folder = Path(ray._private.worker._global_node.get_session_dir_path()).parent
        assert len(str(folder)) <= 40
        yield ray
    assert not ray.is_initialized()
    assert not folder.exists()


@pytest.fixture
def plan(tmp_path):
    (tmp_path / 'plan').mkdir()
    return tmp_path / 'plan'


def build(plan):
    return functools.partial(PlannedSegmentor, str(plan))


def started(plan):
    return {int(path.name.partition('-')[2]) for path in plan.glob('started-*')}


def by_source(out):
    found = {record['source']: record for record in lines(out)}
    assert len(found) == len(lines(out))
    return found


def files(out):
    return {
        str(path.relative_to(out)): path.read_bytes()
        for part in ('masks', 'overlays')
        for path in (out / part).rglob('*')
        if path.is_file()
    }


def table(out):
    with open(out / 'defects.csv', newline='') as file:
        return sorted(csv.reader(file))


def test_one_of_two_workers_killed(tmp_path, plan, capsys):
    names = [f'{k % 3}/{k:02}.png' for k in range(40)]
    photos, out, alone = (tmp_path / name for name in ('photos', 'out', 'alone'))
    write_images(photos, names)
    for name, content in BROKEN.items():
        (photos / name).write_bytes(content)
    command = ['model.onnx', str(photos), '--out', str(out), '--workers', '2']
    command += ['--batch-size', '4']
    # an earlier run, of the other tool
    earlier = ['model.onnx', str(photos), '--out', str(out), '--limit', '6']
    assert predict([*earlier, '--threads', '1'], segmentor=build(plan)) == 0
    (plan / 'kill').touch()

    assert predict_ray(command, segmentor=build(plan)) == 1
    said = capsys.readouterr()

    killed = [int(pid) for pid in (plan / 'killed').read_text().split()]
    assert len(killed) == 1
    # this process for the card, two workers, the one in place of the killed one
    assert len(started(plan)) == 4
    assert started(plan) >= {os.getpid(), *killed}
    assert '34 frames into' in said.out
    assert '6 inputs were done before' in said.out
    assert '(raylet)' not in said.out + said.err
    assert '2 could not be predicted on' in said.err
    ran = report(out)
    assert (ran['frames'], ran['failed']) == (34, 2)
    assert ran['skipped'] == 6
    assert ran['ratio_to_network'] is None

    assert set(by_source(out)) == set(names)
    listed = (out / 'failures.jsonl').read_text().splitlines()
    assert sorted(json.loads(line)['source'] for line in listed) == sorted(BROKEN)
    assert predict(
        ['model.onnx', str(photos), '--out', str(alone), '--threads', '1'],
        segmentor=build(plan),
    ) == 1
    assert by_source(out) == by_source(alone)
    assert table(out) == table(alone)
    assert files(out) == files(alone)
    assert len(files(out)) == 80
    assert {path.name for path in out.iterdir()} == {
        path.name for path in alone.iterdir()}

    # either tool goes on with what the other has left
    for folder, tool in ((out, predict), (alone, predict_ray)):
        for name in BROKEN:
            (photos / name).unlink(missing_ok=True)
        ours = ['model.onnx', str(photos), '--out', str(folder), '--threads', '1']
        assert tool(ours, segmentor=build(plan)) == 0
        assert '0 frames into' in capsys.readouterr().out
        assert len(lines(folder)) == 40


def test_broken_off_and_gone_on(tmp_path, plan, capsys):
    names = [f'{k:02}.png' for k in range(14)]
    write_images(tmp_path / 'photos', names)
    out = tmp_path / 'out'
    command = ['model.onnx', str(tmp_path / 'photos'), '--out', str(out)]
    command += ['--workers', '1', '--batch-size', '3', '--threads', '3']
    (plan / 'full').touch()
    assert predict_ray(command, segmentor=build(plan)) == 3
    said = capsys.readouterr().err
    assert 'broke off: [Errno 28] No space left on device (on ' in said
    before = lines(out)
    assert 3 <= len(before) <= 5
    assert {path.read_text() for path in plan.glob('started-*')} == {'3'}

    (plan / 'full').unlink()
    # and changed since
    shutil.copyfile(tmp_path / 'photos/07.png', tmp_path / 'photos/00.png')
    command = [*command[:4], '--threads', '1']
    assert predict(command, segmentor=build(plan)) == 0
    found = by_source(out)
    assert set(found) == set(names)
    assert found['00.png']['classes'] == found['07.png']['classes']
    ran = report(out)
    assert ran['skipped'] == len(before) - 1


def test_an_image_that_kills_its_worker_is_left(tmp_path, plan):
    write_images(tmp_path / 'photos', [f'{k}.png' for k in range(6)])
    bad = cv2.imread(str(tmp_path / 'photos/2.png'))
    bad[0, 0] = (255, 0, 0)
    cv2.imwrite(str(tmp_path / 'photos/2.png'), bad)
    (plan / 'poison').touch()
    with RunFolder(tmp_path / 'out', {}) as folder:
        outcome = RayPrediction(
            functools.partial(build(plan), 'model.onnx', threads=1),
            find_inputs([tmp_path / 'photos']),
            folder,
            workers=1,
            batch_size=2,
            retries=0,
        ).run()
    assert outcome.error is None
    (origin, reason), = outcome.failures
    assert origin == '2.png'
    assert reason.startswith('its worker died 1 times')
    assert len((plan / 'killed').read_text().split()) == 1
    assert set(by_source(tmp_path / 'out')) == {f'{k}.png' for k in (0, 1, 3, 4, 5)}
    assert not (tmp_path / 'out/.work').exists()


def test_workers_that_die_at_their_start_end_the_run(tmp_path, plan):
    write_images(tmp_path / 'photos', ['0.png'])
    with RunFolder(tmp_path / 'out', {}) as folder:
        outcome = RayPrediction(
            functools.partial(os._exit, 1),
            find_inputs([tmp_path / 'photos']),
            folder,
            workers=1,
            restarts=0,
        ).run()
    assert 'a worker could not go on: ' in str(outcome.error)
    assert 'too little memory' in str(outcome.error)


def test_room(ray):
    assert check_room(ray, None, 1) == 2
    assert check_room(ray, None, 0.5) == 4
    assert check_room(ray, 1, 2) == 1
    with pytest.raises(ValueError, match=r'3 workers of 1 CPUs .* room for 2 \(2 CPUs'):
        check_room(ray, 3, 1)
    with pytest.raises(ValueError, match='1 workers of 1 CPUs and 99 GPUs do not fit'):
        check_room(ray, None, 1, 99)
