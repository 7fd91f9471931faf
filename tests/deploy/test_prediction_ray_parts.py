"""Worker, collection and errors of the prediction by Ray, without Ray."""

import json
import logging
import os
import pickle
import runpy
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import ray.data

from fastsegformer_mm.datasets import NavelOrangeDataset
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.prediction import (
    FrameSettings,
    PartMasks,
    RunFolder,
    StreamSettings,
    find_inputs,
    read_grading,
)
from fastsegformer_mm.deploy.prediction import ray_worker as workers
from fastsegformer_mm.deploy.prediction.ray_prediction import RayPrediction
from fastsegformer_mm.deploy.prediction.ray_session import _FirstSentences, ray_session
from fastsegformer_mm.deploy.prediction.ray_worker import RayWorker
from fastsegformer_mm.deploy.prediction.result_writer import ResultWriter
from fastsegformer_mm.deploy.prediction.run_folder import replace_file

HERE = Path(__file__).parent
TOOL = HERE.parents[1] / 'tools/predict_ray.py'
GRADING = HERE.parents[1] / 'configs/grading/navel_orange.yml'
cases = runpy.run_path(str(HERE / 'prediction_cases.py'))
main = runpy.run_path(str(TOOL))['main']


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    cases['write_images'](folder, ['a.png', 'b.png', 'c.png'])
    return folder


@pytest.fixture
def folder(tmp_path):
    with RunFolder(tmp_path / 'out', {'model': 1}) as folder:
        (folder.path / workers.NOTES).mkdir()
        yield folder


def worker(run, build=cases['ColourSegmentor'], **changes):
    options = dict(
        settings=FrameSettings(),
        folder=str(run.path),
        manifest=(run.path / 'manifest.json').read_bytes(),
    )
    return RayWorker(build, **{**options, **changes})


def work(worker, photos):
    sources = find_inputs([photos]).sources
    batch = {
        key: np.array([getattr(source, key) for source in sources], dtype=object)
        for key in ('name', 'origin', 'path')
    }
    return [json.loads(row) for row in worker(batch)['row']]


def test_a_batch_becomes_files_and_rows(folder, photos):
    (photos / 'b.png').write_bytes(b'no image')
    rows = work(worker(folder), photos)
    assert [row['origin'] for row in rows] == ['a.png', 'b.png', 'c.png']
    assert rows[0]['record']['classes']['ulcer']['pixels'] == 64
    assert rows[0]['record']['mask'] == 'masks/a.png'
    assert rows[1]['failure'][0] == 'b.png'
    assert 'no whole image' in rows[1]['failure'][1]
    assert set(rows[2]['seconds']) >= {'reading', 'network', 'encoding'}
    written = [p for p in folder.path.rglob('*') if p.suffix in ('.png', '.jpg')]
    assert sorted(path.name for path in written) == ['a.jpg', 'a.png', 'c.jpg', 'c.png']
    assert not list((folder.path / workers.NOTES).iterdir())


def test_the_same_batch_again_gives_the_same(folder, photos):
    first, second = (work(worker(folder), photos) for _ in range(2))
    assert [row['record'] for row in first] == [row['record'] for row in second]


def test_what_a_worker_cannot_do_comes_back_as_the_last_row(folder, photos):
    def full(count):
        if count == 2:
            raise OSError(28, 'No space left on device')

    rows = work(worker(folder, lambda: cases['ColourSegmentor'](on_frame=full)), photos)
    row = ['origin', 'record', 'seconds', 'remark']
    assert [list(row) for row in rows] == [row, ['error']]
    assert rows[1]['error'].startswith('[Errno 28] No space left on device (on ')

    def none():
        raise KeyError('no runtime')

    assert work(worker(folder, none), photos)[0]['error'].startswith(
        "KeyError('no runtime') (on "
    )


def test_another_folder_under_the_same_path(folder, photos, tmp_path):
    for changes in ({'manifest': b'{}'}, {'folder': str(tmp_path / 'nowhere')}):
        (row,) = work(worker(folder, **changes), photos)
        assert 'expected one that all machines share' in row['error']


def test_deaths_are_counted_by_image(folder, photos, monkeypatch):
    def die(*args):
        raise SystemExit

    monkeypatch.setattr(Path, 'unlink', lambda *args, **options: None)
    with monkeypatch.context() as patch:
        patch.setattr(workers, 'finish_frame', die)
        for _ in range(2):
            with pytest.raises(SystemExit):
                work(worker(folder), photos)
    assert len(list((folder.path / workers.NOTES).iterdir())) == 2
    rows = work(worker(folder, retries=1), photos)
    origin, reason, doubtful = rows[0]['failure']
    assert reason.startswith('its worker died 2 times. If only')
    assert (origin, doubtful) == ('a.png', True)
    assert work(worker(folder, retries=2), photos)[0]['origin'] == 'a.png'


def test_files_are_replaced_at_once(tmp_path, monkeypatch):
    path = tmp_path / 'masks/left/a.png'
    replace_file(path, b'one')
    seen = []

    def replace(source, target):
        seen.append((Path(source).name, Path(source).read_bytes(), path.read_bytes()))
        raise OSError(5, 'input/output error')

    monkeypatch.setattr(os, 'replace', replace)
    for _ in range(2):
        with pytest.raises(OSError, match='input/output'):
            replace_file(path, b'two')
    # never two with one name
    assert seen[0][0] != seen[1][0]
    assert seen[0][0].startswith('.')
    assert seen[0][0].endswith('.tmp')
    assert seen[0][1:] == (b'two', b'one')
    assert os.listdir(path.parent) == ['a.png']


def collected(folder, photos, batches, stop=None):
    inputs = find_inputs([photos])
    prediction = RayPrediction(None, inputs, folder, stop=stop)
    writer = ResultWriter(folder, StreamSettings())
    try:
        prediction.collect(iter(batches), inputs.sources, writer)
    finally:
        writer.close()
        lines = (folder.path / 'defects.jsonl').read_text().splitlines()
        found = [json.loads(line)['source'] for line in lines]
    return prediction.outcome, found


def test_settings_reach_a_worker(tmp_path):
    settings = FrameSettings(
        grading=read_grading(GRADING, NavelOrangeDataset.METAINFO['classes']),
        parts=PartMasks(tmp_path),
    )
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_rows_that_come_twice_are_written_once(folder, photos):
    a, b, c = ([json.dumps(row)] for row in work(worker(folder), photos))
    outcome, found = collected(folder, photos, [b, a + b, a, c])
    assert found == ['b.png', 'a.png', 'c.png']
    assert outcome.frames == 3
    assert outcome.stages['network'] == pytest.approx(3 * 0.004)


def test_rows_that_do_not_come_are_missed(folder, photos):
    a, b, _ = ([json.dumps(row)] for row in work(worker(folder), photos))
    with pytest.raises(DeployError, match=r'1 images did not come back, c\.png among'):
        collected(folder, photos, [a, b])


def test_a_stop_leaves_the_rest(folder, photos):
    a, b, c = ([json.dumps(row)] for row in work(worker(folder), photos))
    stop = threading.Event()
    stop.set()
    assert collected(folder, photos, [a + b, c], stop)[1] == ['a.png', 'b.png']


def test_files_begun_by_the_dead_are_removed(folder, photos):
    prediction = RayPrediction(None, find_inputs([photos]), folder)
    for name in ('masks/.a.png.tmp-1', 'overlays/left/.b.jpg.tmp-2', 'masks/a.png'):
        replace_file(folder.path / name, b'x')
    prediction._remove_leftovers()
    assert [p.name for p in folder.path.glob('masks/*')] == ['a.png']
    assert not list(folder.path.glob('overlays/left/*'))


def test_messages_of_ray_take_a_line():
    class Stream:
        text = ''

        def write(self, text):
            self.text += text

    stream = Stream()
    print('frames', file=_FirstSentences(stream))
    print('\033[33m(raylet)\033[0m A worker died. See the logs.',
          file=_FirstSentences(stream))
    assert stream.text == 'frames\nRay: A worker died\n'


@pytest.mark.parametrize(
    ('inputs', 'said'),
    [
        (['0'], '0: a live source, which many workers cannot share (1 of 1 inputs are'),
        (['rtsp://u:p@cam/1'], 'rtsp://cam/1: a live source'),
        (['{photos}', '{photos}/v.mp4'], 'v.mp4: a video source, which many workers'),
    ],
)
def test_images_only(photos, tmp_path, capsys, inputs, said):
    (photos / 'v.mp4').touch()
    inputs = [text.format(photos=photos) for text in inputs]
    assert main(['model.onnx', *inputs, '--out', str(tmp_path / 'new')]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert 'tools/predict.py reads videos and cameras' in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / 'new').exists()


def test_without_the_extra(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert main(['model.onnx', str(photos), '--out', str(tmp_path / 'new')]) == 2
    error = capsys.readouterr().err
    assert 'pip install "fastsegformer-mm[ray]"' in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--workers', '0'], '--workers is 0: expected 1 or more'),
        (['--cpus-per-worker', '0'], '--cpus-per-worker is 0.0: expected 0.1 or more'),
        (['--gpus-per-worker', '-1'], '--gpus-per-worker is -1.0: expected 0 or more'),
        (['--batch-size', '0'], '--batch-size is 0: expected 1 or more'),
        (['--opacity', '2'], '--opacity is 2.0: expected 0 to 1'),
        (['--quality', '0'], '--quality is 0: expected 1 to 100'),
    ],
)
def test_options_out_of_range(capsys, options, said):
    with pytest.raises(SystemExit, match='2'):
        main(['model.onnx', 'photos', '--out', 'out', *options])
    assert said in capsys.readouterr().err


def test_gpus_that_a_worker_gets():
    parse = runpy.run_path(str(TOOL))['parse_args']
    command = ['model.onnx', 'photos', '--out', 'out']
    assert parse(command).gpus_per_worker == 0
    assert parse([*command, '--device', 'cuda:0']).gpus_per_worker == 1
    command += ['--device', 'cuda', '--gpus-per-worker', '0.5']
    assert parse(command).gpus_per_worker == 0.5


@pytest.mark.parametrize(
    ('address', 'said'),
    [
        ('ray://h:1', r'--address ray://h:1: Ray Data does not run over a client'),
        # a port that nobody may listen at
        ('127.0.0.1:1', r'--address 127\.0\.0\.1:1: no connection .*refused'),
        ('host:port', r'--address host:port: .* expected HOST:PORT of its head'),
    ],
)
def test_addresses_that_are_none(address, said):
    # its own level, which Ray Data sets when it is imported
    assert ray.data
    before, level = dict(os.environ), logging.getLogger('ray.data').level
    with pytest.raises(DeployError, match=said), ray_session(address):
        pass
    assert dict(os.environ) == before
    assert logging.getLogger('ray.data').level == level
