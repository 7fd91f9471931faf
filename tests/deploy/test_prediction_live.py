"""Cameras: connected again, given up at last, and never behind."""

import threading

import numpy as np
import pytest

from fastsegformer_mm.deploy.prediction import InputError, live_stream
from fastsegformer_mm.deploy.prediction.live_stream import LiveStream


class Camera:
    """Plays connections of so many frames each; after the last none opens."""

    def __init__(self, *connections):
        self.connections, self.opened, self.released = list(connections), [], 0

    def open(self, address):
        self.opened.append(address)
        self.left = self.connections.pop(0) if self.connections else 0
        return self

    def read(self):
        if not self.left:
            return False, None
        self.left -= 1
        return True, np.full((4, 6, 3), self.left % 256, np.uint8)

    def get(self, key):
        return 12.5

    def release(self):
        self.released += 1


@pytest.fixture
def play(monkeypatch):
    """Frames of a camera; waits between attempts are noted instead of waited."""

    def start(connections, reconnect=3, **options):
        camera, waits, said, frames = Camera(*connections), [], [], []
        monkeypatch.setattr(live_stream, 'open_capture', camera.open)
        stop = threading.Event()
        stop.wait = waits.append
        stream = LiveStream('camera_0', 'cam', 0, reconnect)
        error = None
        try:
            for frame in stream.frames(stop=stop, say=said.append, **options):
                frames.append(frame)
        except InputError as problem:
            error = problem
        assert camera.released == len(camera.opened)
        return camera, frames, waits, said, error

    return start


def test_connects_again_and_counts_attempts_in_a_row(play):
    camera, frames, waits, said, error = play([2, 0, 0, 3])
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert {(f.name, f.origin, f.rate) for f in frames} == {('camera_0', 'cam', 12.5)}
    # after the second connection it begins anew
    assert waits == [1, 2, 4, 1, 2, 4]
    assert camera.opened == [0] * 7
    assert said[1] == 'cam: no picture; attempt 2 of 3 in 2 s'
    assert 'no picture after 3 attempts' in error.reason


def test_waits_at_most_half_a_minute(play):
    assert play([], reconnect=8)[2] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_without_attempts(play):
    camera, frames, waits, _, error = play([2], reconnect=0)
    assert (len(frames), waits, len(camera.opened)) == (2, [], 1)
    assert error is not None


def test_every_most_and_first(play):
    _, frames, waits, _, error = play([50], every=3, most=4, first=100)
    assert [f.index for f in frames] == [100, 103, 106, 109]
    assert (waits, error) == ([], None)
    times = [f.seconds for f in frames]
    assert times == sorted(times)
    assert all(f.at.endswith('+00:00') for f in frames)


def test_stops(monkeypatch):
    camera, stop = Camera(1000), threading.Event()
    monkeypatch.setattr(live_stream, 'open_capture', camera.open)
    frames = []
    for frame in LiveStream('c', 'c', 0).frames(stop=stop):
        frames.append(frame)
        if len(frames) == 3:
            stop.set()
    assert (len(frames), camera.released) == (3, 1)


def test_an_address_is_given_limits_of_time(monkeypatch):
    calls = []
    monkeypatch.setattr(live_stream.cv2, 'VideoCapture', lambda *a: calls.append(a))
    live_stream.open_capture(2)
    live_stream.open_capture('rtsp://x')
    assert calls[0] == (2,)
    cv2 = live_stream.cv2
    assert calls[1][:2] == ('rtsp://x', cv2.CAP_FFMPEG)
    limits = dict(zip(calls[1][2][::2], calls[1][2][1::2]))
    assert limits == {
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC: 10_000,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC: 10_000,
    }
