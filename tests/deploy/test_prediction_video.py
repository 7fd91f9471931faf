"""Videos in and out: every frame, without loss in the masks."""

import errno
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastsegformer_mm.deploy.prediction import InputError, find_inputs
from fastsegformer_mm.deploy.prediction.video_sink import VideoSink

cases = runpy.run_path(str(Path(__file__).with_name('prediction_cases.py')))
picture, read_video, write_video = (
    cases[name] for name in ('picture', 'read_video', 'write_video')
)


@pytest.fixture(scope='module')
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp('video') / 'belt.mkv'
    write_video(path, 12)
    return path


def source(path):
    return find_inputs([path]).sources[0]


def test_all_frames_in_their_order(video):
    frames = list(source(video).frames())
    assert [f.index for f in frames] == list(range(12))
    assert all(np.array_equal(f.image, picture(f.index)) for f in frames)
    assert np.allclose([f.seconds for f in frames], np.arange(12) / 20)
    assert {(f.origin, f.name, f.rate, f.stamp) for f in frames} == {
        ('belt.mkv', 'belt', 20.0, None)
    }
    assert source(video).count() == 12


def test_every_and_most(video):
    frames = list(source(video).frames(every=5))
    assert [f.index for f in frames] == [0, 5, 10]
    assert np.array_equal(frames[1].image, picture(5))
    assert [f.index for f in source(video).frames(every=2, most=3)] == [0, 2, 4]


def test_no_video(tmp_path):
    path = tmp_path / 'text.mp4'
    path.write_text('no video')
    with pytest.raises(InputError, match=r'text\.mp4: cannot be opened: no video'):
        list(source(path).frames())
    path.rename(tmp_path / 'moved')
    with pytest.raises(InputError, match='No such file'):
        list(source_of(path).frames())


def source_of(path):
    from fastsegformer_mm.deploy.prediction.video_file import VideoFile

    return VideoFile('text', 'text.mp4', str(path))


def test_damaged_video_gives_what_it_has_and_says_so(tmp_path, video):
    whole = video.read_bytes()
    path = tmp_path / 'cut.mkv'
    path.write_bytes(whole[: len(whole) * 2 // 3])
    frames = []
    with pytest.raises(InputError, match=r'cut\.mkv: ends after \d of 12 frames'):
        frames.extend(source(path).frames())
    assert 4 <= len(frames) <= 9
    # as many as were wanted were there
    assert len(list(source(path).frames(most=3))) == 3


@pytest.mark.parametrize('shape', [(48, 64), (33, 41)])
def test_masks_come_back_without_loss(tmp_path, shape):
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 256, (6, *shape), np.uint8)
    sink = VideoSink(tmp_path / 'm.mkv', 29.97002997, shape, mask=True)
    for mask in masks:
        sink.write(mask)
    # not under its name before it is complete
    assert not (tmp_path / 'm.mkv').exists()
    sink.close()
    assert [p.name for p in tmp_path.iterdir()] == ['m.mkv']
    back = read_video(tmp_path / 'm.mkv')
    assert len(back) == 6
    height, width = shape
    for mask, frame in zip(masks, back):
        assert np.array_equal(frame[:height, :width, 0], mask)
        # no pixel of the frame
        assert (frame[height:] == 255).all()
        assert (frame[:, width:] == 255).all()


@pytest.mark.parametrize('container', ['mp4', 'mkv'])
@pytest.mark.parametrize('rate', [89.999, 1.0, 29.97002997])
def test_overlays_play(tmp_path, container, rate):
    sink = VideoSink(tmp_path / f'v.{container}', rate, (33, 64))
    for k in range(7):
        sink.write(picture(k, (33, 64)))
    sink.close()
    frames = read_video(tmp_path / f'v.{container}')
    assert len(frames) == 7
    for k, frame in enumerate(frames):
        assert frame.shape == (34, 64, 3)
        # lossy, but the square is where it was
        assert frame[12, 2 * k + 4, 1] > 150
        assert frame[12, 2 * k + 20].max() < 110
    found = source(tmp_path / f'v.{container}').frames()
    assert next(found).rate == pytest.approx(rate, abs=0.01)


def test_a_full_disk_is_noticed(tmp_path, monkeypatch):
    sink = VideoSink(tmp_path / 'v.mp4', 20, (48, 64))
    monkeypatch.setattr(
        shutil, 'disk_usage', lambda path: SimpleNamespace(free=1 << 20)
    )
    with pytest.raises(OSError, match='No space left') as error:
        sink.write(picture())
    assert error.value.errno == errno.ENOSPC


def test_frames_that_are_missing_are_noticed(tmp_path):
    sink = VideoSink(tmp_path / 'v.mp4', 20, (48, 64))
    for k in range(5):
        sink.write(picture(k))
    sink.count = 9
    with pytest.raises(OSError, match='only 5 of 9 frames could be written'):
        sink.close()
    assert list(tmp_path.iterdir()) == []


def test_no_place_to_write(tmp_path):
    with pytest.raises(OSError, match='No such file or directory'):
        VideoSink(tmp_path / 'none/v.mp4', 20, (48, 64))
