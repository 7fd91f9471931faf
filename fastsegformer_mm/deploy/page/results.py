"""What a visitor gets to see of a picture or a video."""

import functools
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import jinja2
import numpy as np

from fastsegformer_mm.deploy.model_card import ModelCard
from fastsegformer_mm.deploy.prediction.finish import (
    FrameSettings,
    encode_mask,
    finish_frame,
)
from fastsegformer_mm.deploy.prediction.frame import Frame
from fastsegformer_mm.deploy.segmentation import Segmentation

from . import table
from .limits import Limits
from .models import Models
from .pictures import data_uri, shown_frame, shown_mask
from .uploads import Upload, decode_picture
from .video import VideoReader, VideoWriter, frame_rate, shown_size

ASSETS = Path(__file__).parent / 'assets'
STAGES = ('decode', 'preprocess', 'network', 'postprocess', 'regions')


@functools.lru_cache
def template(name: str) -> jinja2.Template:
    """A template of this folder; what is put into it is escaped."""
    loader = jinja2.FileSystemLoader(ASSETS)
    return jinja2.Environment(loader=loader, autoescape=True).get_template(name)


def card_html(card: ModelCard, backend: str, precision: str) -> str:
    """The line that says which model is at work."""
    return template('card.html.j2').render(
        card=card, backend=backend, precision=precision, legend=table.legend(card)
    )


def picture_result(
    upload: Upload, models: Models, name: str, precision: str, limits: Limits
) -> str:
    """Segment a picture and show it.

    Args:
        upload (Upload): The picture.
        models (Models): The page's.
        name (str): Which of them.
        precision (str): What it is computed in.
        limits (Limits): The page's.

    Returns:
        str: HTML with everything in it: pictures, table, times, files to download.

    Raises:
        DeployError: The picture or the model is at fault.
    """
    start = time.perf_counter()
    frame = decode_picture(upload, limits)
    decoded = time.perf_counter()
    found = models.segment(name, precision, frame)
    segmented = time.perf_counter()
    record = _record(upload, frame, found)
    seconds = {
        'decode': decoded - start,
        **found.seconds,
        'regions': time.perf_counter() - segmented,
    }
    rows = table.picture_rows(record, found.card)
    height, width = found.mask.shape
    mask = encode_mask(found.mask, found.card)
    content = table.as_csv([record])
    return template('result.html.j2').render(
        title=upload.name,
        width=width,
        height=height,
        photo=data_uri('image/jpeg', shown_frame(frame)),
        overlay=data_uri('image/png', shown_mask(found.mask, found.card)),
        heads=table.PICTURE_HEADS,
        rows=rows,
        found_words=table.found_words(rows),
        downloads=[
            (f'{upload.stem}_mask.png', data_uri('image/png', mask), 'Mask (PNG)'),
            (f'{upload.stem}.csv', data_uri('text/csv', content), 'Table (CSV)'),
        ],
        **_times(seconds),
    )


@dataclass
class VideoResult:
    """A video whose frames were segmented, to be painted as often as wanted.

    Args:
        upload (Upload): The video.
        card (ModelCard): Of the model.
        size (tuple[int]): Width and height of its frames in pixels.
        masks (list[bytes]): Of each frame as PNG, at the size that is shown.
        records (list[dict]): Of each frame.
        seconds (dict[str, float]): Of each stage, over all frames.
    """

    upload: Upload
    card: ModelCard
    size: tuple[int, int]
    masks: list[bytes] = field(default_factory=list)
    records: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return frame_rate([record['seconds'] for record in self.records])

    @classmethod
    def of(cls, upload, models, name, precision, limits, progress) -> 'VideoResult':
        """Segment a video.

        Args:
            upload (Upload): The video.
            models (Models): The page's.
            name (str): Which of them.
            precision (str): What it is computed in.
            limits (Limits): The page's.
            progress (callable): Told how many frames are done, and of how many;
                None where the header does not say.

        Raises:
            DeployError: The video or the model is at fault.
        """
        with VideoReader(upload, limits) as reader:
            result = None
            total = dict.fromkeys(STAGES, 0.0)
            start = time.perf_counter()
            for second, frame in reader:
                decoded = time.perf_counter()
                found = models.segment(name, precision, frame)
                segmented = time.perf_counter()
                if result is None:
                    size = frame.shape[1::-1]
                    result = cls(upload, found.card, size, seconds=total)
                result.records.append(
                    _record(upload, frame, found, len(result.records), second)
                )
                total['decode'] += decoded - start
                for stage, spent in found.seconds.items():
                    total[stage] += spent
                total['regions'] += time.perf_counter() - segmented
                result.masks.append(_kept(found.mask))
                progress(len(result.masks), reader.frames or None)
                start = time.perf_counter()
        return result

    def painted(self, limits: Limits, opacity: float, boxes: bool) -> bytes:
        """The video with the classes laid over it; no network is run.

        Args:
            limits (Limits): The page's.
            opacity (float): Of the colours, 0 to 1.
            boxes (bool): Whether each region has its box drawn.

        Returns:
            bytes: WebM.
        """
        size = shown_size(*self.size)
        colours = [_bgr(colour) for _, colour in table.legend(self.card)]
        thick = 1 if max(size) < 480 else 2
        scale = np.array([size[0] / self.size[0], size[1] / self.size[1]] * 2)
        with (
            VideoReader(self.upload, limits) as reader,
            VideoWriter(self.rate, size) as writer,
        ):
            for (_, frame), mask, record in zip(reader, self.masks, self.records):
                frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
                mask = cv2.imdecode(np.frombuffer(mask, np.uint8), cv2.IMREAD_GRAYSCALE)
                frame = Segmentation(mask, self.card).overlay(frame, opacity)
                for name, f in record['classes'].items() if boxes else ():
                    colour = colours[self.card.classes.index(name)]
                    for box in f['boxes']:
                        x, y, w, h = np.rint(scale * box).astype(int).tolist()
                        cv2.rectangle(
                            frame, (x, y, max(w, 2), max(h, 2)), colour, thick
                        )
                writer.write(frame)
            return writer.content()

    def html(self, limits: Limits, opacity: float, boxes: bool) -> str:
        """The result to be shown, with the files to download in it."""
        name = self.upload.name
        video = data_uri('video/webm', self.painted(limits, opacity, boxes))
        content = table.as_csv(self.records)
        width, height = self.size
        count = len(self.masks)
        rows = table.video_rows(self.records, self.card)
        return template('result.html.j2').render(
            title=name,
            length=f'{count:,} frames, {count / self.rate:.1f} s',
            width=width,
            height=height,
            video=video,
            heads=table.VIDEO_HEADS,
            rows=rows,
            found_words=table.found_words(rows),
            downloads=[
                (f'{self.upload.stem}_overlay.webm', video, 'Video (WebM)'),
                (
                    f'{self.upload.stem}.csv',
                    data_uri('text/csv', content),
                    'Table per frame (CSV)',
                ),
            ],
            **_times({k: v / count for k, v in self.seconds.items()}),
        )


def _record(upload, frame, found, index=None, seconds=None):
    """What tools/predict.py would write down of a frame."""
    name = table.harmless(upload.name)
    frame = Frame(frame, name, upload.stem, index, seconds)
    settings = FrameSettings(masks=False, overlays=False)
    return finish_frame(frame, found, settings).record


def _kept(mask):
    """A mask as small as it is shown, as PNG."""
    size = shown_size(*mask.shape[1::-1])
    if size != mask.shape[1::-1]:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return cv2.imencode('.png', mask, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1].tobytes()


def _bgr(colour):
    """The colour of a legend as OpenCV has it."""
    return tuple(int(v) for v in colour[4:-1].split(','))[::-1] if colour else None


def _times(seconds):
    total = sum(seconds.values())
    return dict(
        total=f'{1000 * total:.1f} ms',
        times=[
            (stage, f'{1000 * seconds[stage]:.1f} ms', seconds[stage] / (total or 1))
            for stage in STAGES
        ],
    )
