"""A segmentor whose masks can be read off the frames, and frames for it."""

import json
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from fastsegformer_mm.deploy import ModelCard, Segmentation
from fastsegformer_mm.deploy.prediction import (
    Frame,
    Prediction,
    RunFolder,
    find_inputs,
)
from fastsegformer_mm.deploy.prediction.inputs import Inputs
from fastsegformer_mm.deploy.prediction.record_files import read_records

CARD = ModelCard(
    name='colours',
    classes=('background', 'ulcer', 'rust'),
    palette=((0, 0, 0), (0, 128, 0), (128, 0, 0)),
    size=(64, 64),
    checkpoint='best.pth',
    sha256='1' * 64,
)


class ColourSegmentor:
    """Green pixels are class 1, red ones class 2.

    Args:
        delay (float): Seconds that the network takes.
        on_frame (Callable, optional): Called with the number of frames so far.
        streams (int): Frames at a time. Defaults to 1.
        in_flight (int, optional): Frames on the way. Defaults to None: the same.
    """

    card = CARD

    def __init__(self, delay=0.0, on_frame=None, streams=1, in_flight=None):
        self.delay, self.on_frame, self.count = delay, on_frame, 0
        self.streams, self.in_flight = streams, in_flight or streams
        self.running = self.most = 0
        self._lock = threading.Lock()

    def segment(self, frame):
        with self._lock:
            self.count += 1
            number = self.count
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if self.on_frame:
                self.on_frame(number)
            time.sleep(self.delay)
        finally:
            with self._lock:
                self.running -= 1
        mask = np.zeros(frame.shape[:2], np.uint8)
        mask[frame[..., 1] > 160] = 1
        mask[frame[..., 2] > 160] = 2
        seconds = {'preprocess': 0.001, 'network': 0.004, 'postprocess': 0.002}
        return Segmentation(mask, CARD, seconds)


def picture(number=0, shape=(48, 64)):
    """A green square of 8x8 in a place of its own, and a red bar of 2x20."""
    image = np.full((*shape, 3), 40, np.uint8)
    left = 2 * (number % 24)
    image[8:16, left : left + 8] = (0, 255, 0)
    image[40:42, 30:50] = (0, 0, 255)
    return image


def write_images(folder, names):
    """PNG files, the k-th of ``picture(k)``."""
    for k, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), picture(k))


def write_video(path, count, shape=(48, 64), rate=20.0):
    """A video of pictures 0 to count - 1 without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(
        str(path),
        cv2.CAP_FFMPEG,
        cv2.VideoWriter_fourcc(*'FFV1'),
        rate,
        shape[::-1],
    )
    for k in range(count):
        writer.write(picture(k, shape))
    writer.release()


def read_video(path):
    """All frames of a video."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while True:
        ok, frame = capture.read()
        if not ok:
            return frames
        frames.append(frame)


class Camera:
    """A live source of so many frames, some of another size.

    It waits before the k-th of a run until ``seen`` is true of k.
    """

    kind, origin, name = 'live', 'cam', 'camera_0'

    def __init__(self, count, seen, other=()):
        self.count, self.seen, self.other = count, seen, other
        self.given = 0

    def frames(self, every, most, first, stop, say):
        """Yield them."""
        for k in range(first, first + self.count):
            while not self.seen(k - first):
                time.sleep(0.001)
            self.given = k - first
            shape = (64, 64) if k in self.other else (48, 64)
            yield Frame(
                picture(k, shape), 'cam', 'camera_0', k, k / 2, '2026-01-01', rate=2.0
            )


def predict(inputs, out, segmentor=None, **options):
    """The outcome of a run over inputs, or what a path or paths name."""
    if not isinstance(inputs, Inputs):
        inputs = find_inputs([inputs] if isinstance(inputs, Path) else inputs, out)
    with RunFolder(out, {}) as folder:
        return Prediction(
            segmentor or ColourSegmentor(), inputs, folder, **options
        ).run()


def records(out):
    """Records of a folder by source and frame, in their order."""
    return {(r['source'], r['frame']): r for r in read_records(out)}


def lines(out):
    """Records of a folder, line by line; a line that is none is an error."""
    text = (out / 'defects.jsonl').read_text().splitlines()
    return [json.loads(line) for line in text]


def report(out):
    """What a run has written of itself."""
    return json.loads((out / 'run.json').read_text())
