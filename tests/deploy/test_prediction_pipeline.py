"""The whole run: nothing lost, nothing twice, nothing waits for ever."""

import errno
import json
import resource
import runpy
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.deploy.prediction import (
    FrameSettings,
    InputError,
    PartMasks,
    StreamSettings,
    pipeline,
)
from fastsegformer_mm.deploy.prediction.image_file import ImageFile
from fastsegformer_mm.deploy.prediction.inputs import Inputs
from fastsegformer_mm.deploy.prediction.record_files import read_records
from fastsegformer_mm.deploy.prediction.result_writer import ResultWriter

cases = runpy.run_path(str(Path(__file__).with_name('prediction_cases.py')))
(
    Camera,
    ColourSegmentor,
    picture,
    predict,
    read_video,
    records,
    write_images,
    write_video,
) = (
    cases[name]
    for name in (
        'Camera',
        'ColourSegmentor',
        'picture',
        'predict',
        'read_video',
        'records',
        'write_images',
        'write_video',
    )
)
NAMES = [f'{side}/{k}.png' for side in ('left', 'right') for k in range(5)]


@pytest.fixture
def photos(tmp_path):
    write_images(tmp_path / 'photos', NAMES)
    return tmp_path / 'photos'


def files(out, part):
    return sorted(
        p.relative_to(out / part).as_posix()
        for p in (out / part).rglob('*')
        if p.is_file()
    )


def test_a_folder(photos, tmp_path):
    out = tmp_path / 'out'
    outcome = predict(photos, out)
    assert (outcome.frames, outcome.failed, outcome.error) == (10, 0, None)
    found = list(read_records(out))
    # in their order, whichever thread was faster
    assert [r['source'] for r in found] == NAMES
    for k, record in enumerate(found):
        assert record['classes']['ulcer']['boxes'] == [[2 * k, 8, 8, 8]]
        mask = np.array(Image.open(out / record['mask']))
        expected = ColourSegmentor().segment(picture(k)).mask
        assert np.array_equal(mask, expected)
    assert files(out, 'masks') == NAMES
    assert files(out, 'overlays') == [n.replace('png', 'jpg') for n in NAMES]
    assert outcome.means()['network'] == pytest.approx(0.004)
    assert set(outcome.stages) == {
        'reading',
        'preprocess',
        'network',
        'postprocess',
        'measuring',
        'drawing',
        'encoding',
        'writing',
    }


def test_broken_files_are_passed_over_and_tried_again(photos, tmp_path):
    out = tmp_path / 'out'
    whole = (photos / NAMES[3]).read_bytes()
    (photos / NAMES[3]).write_bytes(whole[:200])
    (photos / NAMES[8]).write_bytes(b'')
    outcome = predict(photos, out)
    assert (outcome.frames, outcome.failed) == (8, 2)
    assert [name for name, _ in outcome.failures] == [NAMES[3], NAMES[8]]
    assert outcome.failures[1][1] == 'the file is empty'
    lines = (out / 'failures.jsonl').read_text().splitlines()
    assert [json.loads(line)['source'] for line in lines] == [NAMES[3], NAMES[8]]
    (photos / NAMES[3]).write_bytes(whole)
    outcome = predict(photos, out)
    assert (outcome.frames, outcome.skipped, outcome.failed) == (1, 8, 1)
    assert len(records(out)) == 9
    (photos / NAMES[8]).unlink()
    outcome = predict(photos, out)
    assert (outcome.frames, outcome.skipped, outcome.failed) == (0, 9, 0)
    assert not (out / 'failures.jsonl').exists()


def test_only_some_failures_are_kept_in_memory(tmp_path):
    write_images(tmp_path / 'photos', [f'{k}.png' for k in range(60)])
    for path in (tmp_path / 'photos').iterdir():
        path.write_bytes(b'x')
    outcome = predict(tmp_path / 'photos', tmp_path / 'out')
    assert (outcome.failed, len(outcome.failures)) == (60, 50)
    assert len((tmp_path / 'out/failures.jsonl').read_text().splitlines()) == 60


def test_goes_on_where_it_was_and_reads_what_has_changed(photos, tmp_path):
    out, stop = tmp_path / 'out', threading.Event()
    first = ColourSegmentor(on_frame=lambda n: n == 4 and stop.set())
    outcome = predict(photos, out, first, stop=stop)
    # what was segmented is written
    assert outcome.frames == first.count == len(records(out)) == 4
    cv2.imwrite(str(photos / NAMES[0]), picture(20))
    second = ColourSegmentor()
    outcome = predict(photos, out, second)
    assert (second.count, outcome.frames, outcome.skipped) == (7, 7, 3)
    found = list(read_records(out))
    assert sorted(r['source'] for r in found) == NAMES
    assert records(out)[NAMES[0], None]['classes']['ulcer']['boxes'] == [[40, 8, 8, 8]]
    rows = (out / 'defects.csv').read_text().splitlines()
    assert len(rows) == 1 + 2 * 10
    third = ColourSegmentor()
    assert predict(photos, out, third).skipped == 10
    assert third.count == 0


def test_a_video(tmp_path):
    out = tmp_path / 'out'
    write_video(tmp_path / 'in/belt.mkv', 9)
    write_images(tmp_path / 'in', ['a.png'])
    outcome = predict(tmp_path / 'in', out, streams=StreamSettings(every=2))
    assert outcome.frames == 6
    assert list(records(out)) == [('a.png', None)] + [
        ('belt.mkv', k) for k in (0, 2, 4, 6, 8)
    ]
    masks = read_video(out / 'masks/belt.mkv')
    overlays = read_video(out / 'overlays/belt.mp4')
    assert len(masks) == len(overlays) == 5
    for k, (mask, overlay) in enumerate(zip(masks, overlays)):
        record = records(out)['belt.mkv', 2 * k]
        expected = ColourSegmentor().segment(picture(2 * k)).mask
        assert np.array_equal(mask[..., 0], expected)
        assert record['classes']['ulcer']['boxes'] == [[4 * k, 8, 8, 8]]
        assert record['seconds'] == pytest.approx(k / 10)
        assert (record['mask'], record['overlay']) == (
            'masks/belt.mkv',
            'overlays/belt.mp4',
        )
        assert overlay[12, 4 * k + 4, 1] > 150
    # half of the frames take as long as all
    assert cv2.VideoCapture(str(out / 'overlays/belt.mp4')).get(cv2.CAP_PROP_FPS) == 10
    assert predict(tmp_path / 'in', out).frames == 0


def test_an_interrupted_video_plays_and_is_made_again(tmp_path):
    out, stop = tmp_path / 'out', threading.Event()
    write_video(tmp_path / 'belt.mkv', 12)
    first = ColourSegmentor(on_frame=lambda n: n == 5 and stop.set())
    streams = StreamSettings(container='mkv')
    outcome = predict(tmp_path / 'belt.mkv', out, first, stop=stop, streams=streams)
    assert outcome.frames == len(records(out)) == 5
    assert len(read_video(out / 'overlays/belt.mkv')) == 5
    assert len(read_video(out / 'masks/belt.mkv')) == 5
    outcome = predict(tmp_path / 'belt.mkv', out, streams=streams)
    assert (outcome.frames, outcome.skipped) == (12, 0)
    assert list(records(out)) == [('belt.mkv', k) for k in range(12)]
    assert len(read_video(out / 'masks/belt.mkv')) == 12
    assert files(out, 'overlays') == ['belt.mkv']


def test_a_damaged_video_is_a_failure_with_frames(tmp_path):
    write_video(tmp_path / 'belt.mkv', 12)
    whole = (tmp_path / 'belt.mkv').read_bytes()
    (tmp_path / 'belt.mkv').write_bytes(whole[: len(whole) * 2 // 3])
    outcome = predict(tmp_path / 'belt.mkv', tmp_path / 'out')
    assert outcome.failed == 1
    assert 'frames: the file is damaged' in outcome.failures[0][1]
    assert outcome.frames == len(read_video(tmp_path / 'out/masks/belt.mkv')) >= 4
    # not taken as complete
    assert predict(tmp_path / 'belt.mkv', tmp_path / 'out').skipped == 0


def test_a_camera_is_never_behind(tmp_path):
    out = tmp_path / 'out'

    def until_the_last_frame(count):
        while camera.given < 59:
            time.sleep(0.001)

    segmentor = ColourSegmentor(on_frame=until_the_last_frame)
    # it gives all but the first while the first is in the network
    camera = Camera(60, lambda k: k == 0 or segmentor.count)
    outcome = predict(Inputs([camera], ''), out, segmentor)
    assert (outcome.frames, outcome.dropped) == (2, 58)
    assert list(records(out)) == [('cam', 0), ('cam', 59)]


def test_a_file_is_never_dropped(tmp_path):
    write_video(tmp_path / 'belt.mkv', 12)
    outcome = predict(
        tmp_path / 'belt.mkv', tmp_path / 'out', ColourSegmentor(delay=0.02)
    )
    assert (outcome.frames, outcome.dropped) == (12, 0)


def test_a_camera_gets_files_of_a_length_and_goes_on_numbering(tmp_path):
    out = tmp_path / 'out'
    # at two frames a second, four frames are two seconds
    streams = StreamSettings(minutes=2 / 60)
    for count in (8, 3):
        segmentor = ColourSegmentor()
        camera = Camera(count, lambda k, seen=segmentor: seen.count >= k, (6, 7))
        predict(Inputs([camera], ''), out, segmentor, streams=streams)
    assert [frame for _, frame in records(out)] == list(range(11))
    counts = {n: len(read_video(out / 'masks' / n)) for n in files(out, 'masks')}
    assert counts == {
        'camera_0-000001.mkv': 4,
        'camera_0-000002.mkv': 2,
        'camera_0-000003.mkv': 2,
        'camera_0-000004.mkv': 3,
    }
    assert files(out, 'overlays') == [n.replace('mkv', 'mp4') for n in counts]
    assert records(out)['cam', 6]['overlay'] == 'overlays/camera_0-000003.mp4'


def test_what_waits_is_bounded_under_a_slow_writer(tmp_path, monkeypatch):
    count = 40
    write_images(tmp_path / 'photos', [f'{k:02d}.png' for k in range(count)])
    read, written, most = [], [], []
    real_read, real_write = ImageFile.read, ResultWriter.write

    def slow_write(self, finished):
        time.sleep(0.02)
        real_write(self, finished)
        written.append(1)

    def counted_read(self, depth):
        read.append(1)
        most.append(len(read) - len(written))
        return real_read(self, depth)

    monkeypatch.setattr(ResultWriter, 'write', slow_write)
    monkeypatch.setattr(ImageFile, 'read', counted_read)
    outcome = predict(tmp_path / 'photos', tmp_path / 'out', waiting=3, workers=2)
    assert outcome.frames == count
    assert outcome.waiting == {'network': 3, 'writing': 3}
    # 3 and 3 wait; one each is in the hands of reader, network and writer
    assert max(most) <= 3 + 3 + 3


@pytest.mark.parametrize('stage', ['reader', 'network', 'drawing', 'writer', 'end'])
def test_whatever_dies_ends_the_run(photos, tmp_path, monkeypatch, stage):
    def die(*args, **kwargs):
        raise RuntimeError(f'the {stage} died')

    segmentor = ColourSegmentor()
    if stage == 'reader':
        monkeypatch.setattr(ImageFile, 'read', die)
    elif stage == 'network':
        segmentor.on_frame = lambda n: n >= 3 and die()
    elif stage == 'drawing':
        monkeypatch.setattr(pipeline, 'finish_frame', die)
    elif stage == 'writer':
        monkeypatch.setattr(ResultWriter, 'write', die)
    else:
        monkeypatch.setattr(ResultWriter, 'close', die)
    threads = threading.active_count()
    outcome = predict(photos, tmp_path / 'out', segmentor, waiting=1)
    expected = f'the {stage} died'
    if stage == 'network':
        # one may be the frame's fault; five in a row are not
        expected = (
            f'5 inputs in a row failed, the last of them {NAMES[6]}: RuntimeError: '
            'the network died'
        )
        assert outcome.failed == 5
    assert str(outcome.error) == expected
    assert outcome.frames == {'network': 2, 'end': 10}.get(stage, 0)
    assert len(records(tmp_path / 'out')) == outcome.frames
    deadline = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads


@pytest.mark.parametrize('kind', ['images', 'video'])
def test_a_file_that_cannot_grow_ends_the_run(tmp_path, kind):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(40)]
    if kind == 'images':
        (tmp_path / 'in').mkdir()
        for k, image in enumerate(noise):
            cv2.imwrite(str(tmp_path / f'in/{k}.png'), image)
    else:
        (tmp_path / 'in').mkdir()
        writer = cv2.VideoWriter(
            str(tmp_path / 'in/v.mkv'), cv2.VideoWriter_fourcc(*'FFV1'), 20, (64, 48)
        )
        for image in noise:
            writer.write(image)
        writer.release()
    # of a file's size; as near to a full disk as a test can come
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = 3000 if kind == 'images' else 30_000
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        outcome = predict(
            tmp_path / 'in',
            tmp_path / 'out',
            settings=FrameSettings(overlay_format='png'),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(outcome.error, OSError)
    if kind == 'images':
        assert outcome.error.errno == errno.EFBIG
    # and nothing half is left
    assert not list((tmp_path / 'out').rglob('*.tmp*'))
    outcome = predict(
        tmp_path / 'in', tmp_path / 'out', settings=FrameSettings(overlay_format='png')
    )
    assert outcome.error is None
    assert len(records(tmp_path / 'out')) == 40


def test_a_part_mask_that_does_not_fit(photos, tmp_path):
    (tmp_path / 'parts/left').mkdir(parents=True)
    Image.new('L', (9, 9)).save(tmp_path / 'parts/left/2.png')
    settings = FrameSettings(parts=PartMasks(tmp_path / 'parts'))
    outcome = predict(photos, tmp_path / 'out', settings=settings)
    assert (outcome.frames, outcome.failed, outcome.error) == (9, 1, None)
    assert outcome.failures[0][0] == 'left/2.png'
    # in a video every frame would be wrong
    write_video(photos / 'left/belt.mkv', 50)
    (tmp_path / 'parts/left/2.png').rename(tmp_path / 'parts/left/belt.png')
    outcome = predict(photos, tmp_path / 'out2', settings=settings)
    assert (outcome.frames, outcome.failed, outcome.error) == (10, 1, None)
    origin, reason = outcome.failures[0]
    assert origin == 'left/belt.mkv'
    assert 'expected those of the frame, 64x48' in reason
    assert not files(tmp_path / 'out2', 'masks').count('left/belt.mkv')
    # and a camera has no end
    camera = Camera(5, lambda k: True)
    (tmp_path / 'parts/left/belt.png').rename(tmp_path / 'parts/camera_0.png')
    outcome = predict(Inputs([camera], ''), tmp_path / 'out3', settings=settings)
    assert isinstance(outcome.error, InputError)


def test_opencv_has_one_thread_meanwhile(photos, tmp_path):
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        seen = []
        segmentor = ColourSegmentor(on_frame=lambda n: seen.append(cv2.getNumThreads()))
        predict(photos, tmp_path / 'out', segmentor)
        assert set(seen) == {1}
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)
