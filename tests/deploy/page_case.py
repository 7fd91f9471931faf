"""A segmentor of thresholds, pictures and videos for it, and a Chromium to look on."""

import contextlib
import shutil
import socket
import struct
import tempfile
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from fastsegformer_mm.deploy.model_card import ModelCard
from fastsegformer_mm.deploy.page.models import Models, ModelSource
from fastsegformer_mm.deploy.segmentation import Segmentation

CLASSES = ('background', 'ulcer', 'wind scarring')
PALETTE = ((0, 0, 0), (0, 128, 0), (128, 0, 0))
SECONDS = {'preprocess': 0.001, 'network': 0.01, 'postprocess': 0.002}
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome')
FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    # a camera of coloured pictures
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
)


class Thresholds:
    """Finds an ulcer where the green is above 200, wind scarring above 100.

    Args:
        precision (str): What it says that it computes in.
        name (str): Of its card.
        checkpoint (str): Of its card.
    """

    def __init__(self, precision='fp32', name='thresholds', checkpoint='best.pth'):
        self.card = ModelCard(
            name,
            CLASSES,
            PALETTE,
            (64, 48),
            checkpoint=checkpoint,
            sha256='0123abcd' * 8,
        )
        self.backend = SimpleNamespace(
            name='torch',
            device='cpu',
            precision=precision,
            precisions=lambda: ('fp32', 'bf16'),
        )
        self.frames = []

    def segment(self, frame):
        """As DefectSegmentor; a frame with a white corner makes it fail."""
        self.frames.append(frame)
        if (frame[0, 0] == 255).all():
            raise RuntimeError('out of memory')
        green = frame[..., 1]
        mask = np.uint8(green > 200) + 2 * np.uint8((green > 100) & (green <= 200))
        return Segmentation(mask, self.card, dict(SECONDS))


def models(*names, built=None):
    """Models of thresholds; each that is built is put into ``built``."""

    def load(source, precision):
        made = Thresholds('fp32' if precision == 'auto' else precision, source.model)
        if built is not None:
            built.append(made)
        return made

    return Models([ModelSource(name) for name in names or ('thresholds',)], load=load)


def frame(shift=0):
    """uint8 BGR of (60, 80, 3): an ulcer of 10 x 20, two wind scars of 4 x 4 pixels."""
    out = np.full((60, 80, 3), 40, np.uint8)
    out[10:20, 5 + shift : 25 + shift, 1] = 230
    out[40:44, 10:14, 1] = out[50:54, 60:64, 1] = 150
    return out


def png(image):
    """Content of a PNG."""
    return cv2.imencode('.png', image)[1].tobytes()


def jpeg(image):
    """Content of a JPEG."""
    return cv2.imencode('.jpg', image)[1].tobytes()


def bomb(side=50_000):
    """A PNG of a few bytes whose header promises ``side`` x ``side`` pixels."""
    parts = [b'\x89PNG\r\n\x1a\n']
    for kind, data in (
        (b'IHDR', struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)),
        (b'IDAT', zlib.compress(bytes(1000))),
        (b'IEND', b''),
    ):
        check = struct.pack('>I', zlib.crc32(kind + data))
        parts += [struct.pack('>I', len(data)), kind, data, check]
    return b''.join(parts)


def video(frames, rate=10, ending='webm', code='VP80'):
    """Content of a video."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'out.{ending}'
        size = frames[0].shape[1::-1]
        writer = cv2.VideoWriter(
            str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), rate, size
        )
        for image in frames:
            writer.write(image)
        writer.release()
        return path.read_bytes()


@contextlib.contextmanager
def chromium():
    """A browser without a window."""
    found = [path for path in map(shutil.which, BROWSERS) if path]
    with sync_playwright() as play:
        path = found[0] if found else play.chromium.executable_path
        if not Path(path).is_file():
            raise FileNotFoundError(
                f'none of {", ".join(BROWSERS)} is installed; apt-get install '
                'chromium, or python -m playwright install chromium'
            )
        browser = play.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def until(condition, seconds=10.0):
    """Wait for a condition, or fail."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'it did not come to that in time'
        time.sleep(0.02)
