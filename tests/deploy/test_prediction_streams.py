"""Several frames in the network at a time: results keep their order."""

import runpy
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from fastsegformer_mm.deploy.prediction.inputs import Inputs

cases = runpy.run_path(str(Path(__file__).with_name('prediction_cases.py')))
Camera, ColourSegmentor, predict, read_video, records, write_images, write_video = (
    cases[name]
    for name in (
        'Camera',
        'ColourSegmentor',
        'predict',
        'read_video',
        'records',
        'write_images',
        'write_video',
    )
)
NAMES = [f'{k}.png' for k in range(10)]


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / 'photos', NAMES)
    return tmp_path / 'photos'


def test_a_folder_in_order(photos, tmp_path):
    # the first of each pair takes longer than the second
    segmentor = ColourSegmentor(
        on_frame=lambda n: time.sleep(0.03 * (n % 2)), streams=2
    )
    outcome = predict(photos, tmp_path / 'out', segmentor)
    predict(photos, tmp_path / 'one', ColourSegmentor())
    assert (outcome.frames, outcome.streams, segmentor.most) == (10, 2, 2)
    assert records(tmp_path / 'out') == records(tmp_path / 'one')
    assert list(records(tmp_path / 'out')) == [(name, None) for name in NAMES]
    for name in NAMES:
        stem = name.removesuffix('.png')
        one, two = (
            (tmp_path / out / f'masks/{stem}.png').read_bytes()
            for out in ('one', 'out')
        )
        assert one == two


def test_others_are_prepared_meanwhile(photos, tmp_path):
    segmentor = ColourSegmentor(0.02, streams=1, in_flight=3)
    outcome = predict(photos, tmp_path / 'out', segmentor)
    # of the network there is one all the same
    assert (outcome.frames, outcome.streams, segmentor.most) == (10, 1, 3)
    assert list(records(tmp_path / 'out')) == [(name, None) for name in NAMES]


def test_a_video_in_order(tmp_path):
    write_video(tmp_path / 'belt.avi', 12)
    for streams in (1, 3):
        segmentor = ColourSegmentor(
            on_frame=lambda n: time.sleep(0.02 * (n % 3)), streams=streams
        )
        outcome = predict(
            [str(tmp_path / 'belt.avi')], tmp_path / str(streams), segmentor
        )
        assert (outcome.frames, outcome.error) == (12, None)
    one, three = (
        read_video(next((tmp_path / n / 'masks').glob('*'))) for n in ('1', '3')
    )
    assert np.array_equal(one, three)
    assert [frame for _, frame in records(tmp_path / '3')] == list(range(12))


def test_broken_files_among_them(photos, tmp_path):
    for name in NAMES[1::3]:
        (photos / name).write_bytes(b'broken')
    outcome = predict(photos, tmp_path / 'out', ColourSegmentor(streams=2))
    assert (outcome.frames, outcome.failed, outcome.error) == (7, 3, None)
    assert [Path(origin).name for origin, _ in outcome.failures] == [
        Path(name).name for name in NAMES[1::3]
    ]


def test_stopped_between_frames(photos, tmp_path):
    stop = threading.Event()
    segmentor = ColourSegmentor(
        0.02, on_frame=lambda n: n == 4 and stop.set(), streams=2
    )
    outcome = predict(photos, tmp_path / 'out', segmentor, stop=stop)
    assert 4 <= outcome.frames <= 6
    kept = [(name, None) for name in NAMES[: outcome.frames]]
    assert list(records(tmp_path / 'out')) == kept


def test_a_network_that_dies(photos, tmp_path):
    class Dying(ColourSegmentor):
        def segment(self, frame):
            # the green square of the fifth picture, whoever comes first
            if (frame[12, 8:16, 1] == 255).all():
                raise RuntimeError('the network died')
            return super().segment(frame)

    threads = threading.active_count()
    outcome = predict(photos, tmp_path / 'out', Dying(0.01, streams=2))
    assert outcome.error is None
    assert outcome.failures == [(NAMES[4], 'RuntimeError: the network died')]
    others = [(name, None) for name in NAMES if name != NAMES[4]]
    assert list(records(tmp_path / 'out')) == others
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads


def test_a_camera_is_never_behind(tmp_path):
    def until_the_last_frame(count):
        while camera.given < 59:
            time.sleep(0.001)
        time.sleep(0.05)  # until it waits

    segmentor = ColourSegmentor(on_frame=until_the_last_frame, streams=2)
    # all but the first two while these are in the network
    camera = Camera(60, lambda k: segmentor.count >= min(k, 2))
    outcome = predict(Inputs([camera], ''), tmp_path / 'out', segmentor)
    assert (outcome.frames, outcome.dropped) == (3, 57)
    assert list(records(tmp_path / 'out')) == [('cam', 0), ('cam', 1), ('cam', 59)]
