"""From a segmented frame to its record and files."""

import io
import time
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from ..errors import FrameError
from ..model_card import ModelCard
from .frame import Frame
from .grading import Grading
from .input_error import fault_of
from .measure import measure
from .part_masks import PartMasks

FORMATS = ('jpg', 'png', 'webp')
# most pixels a side
LARGEST = {'jpg': 65_500, 'webp': 16_383}


@dataclass(frozen=True)
class FrameSettings:
    """What is made of a segmented frame.

    Args:
        masks (bool): Index masks. Defaults to True.
        overlays (bool): Frames with their mask laid over. Defaults to True.
        opacity (float): Of the overlay's tint, 0 to 1. Defaults to 0.5.
        overlay_format (str): Of image files: 'jpg', 'png' or 'webp'; what is larger
            than the format allows becomes a PNG. Defaults to 'jpg'.
        quality (int): Of 'jpg' and 'webp', 1 to 100. Defaults to 90.
        grading (Grading, optional): Gives grades. Defaults to None, none.
        parts (PartMasks, optional): Where the fruit or part is. Defaults to None.
        min_region (int): Smallest region that counts, in pixels. Defaults to 1.
        max_boxes (int): Boxes of a class and frame at most. Defaults to 100.
        depth (int, optional): Bits in use of 16-bit image files; see
            :func:`~fastsegformer_mm.deploy.prediction.decode.decode_image`. Defaults
            to None, such files are refused.
    """

    masks: bool = True
    overlays: bool = True
    opacity: float = 0.5
    overlay_format: str = 'jpg'
    quality: int = 90
    grading: Grading | None = None
    parts: PartMasks | None = None
    min_region: int = 1
    max_boxes: int = 100
    depth: int | None = None


@dataclass
class Finished:
    """All that is written of a frame.

    Args:
        frame (Frame): The frame, without its picture.
        record (dict): Its line in ``defects.jsonl``.
        files (dict[str, bytes]): Of an image: content of files by their path in the
            folder of outputs.
        overlay (np.ndarray, optional): Of a video's frame: uint8 BGR (H, W, 3).
        mask (np.ndarray, optional): Of a video's frame: uint8 (H, W).
        seconds (dict[str, float]): By stage.
        remark (str, optional): What is not as it was asked for. Defaults to None.
    """

    frame: Frame
    record: dict
    files: dict[str, bytes] = field(default_factory=dict)
    overlay: np.ndarray | None = None
    mask: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    remark: str | None = None


def finish_frame(frame: Frame, segmentation, settings: FrameSettings) -> Finished:
    """Measure, grade and draw one frame.

    It depends on nothing but its arguments and writes nothing, so that it may run
    in any thread, process or machine.

    Args:
        frame (Frame): The frame.
        segmentation (Segmentation): What the segmentor found in it.
        settings (FrameSettings): What is wanted.

    Raises:
        InputError: The frame cannot be measured, drawn or encoded, or its part mask
            cannot be read or has another size.
    """
    with fault_of(frame.origin):
        return _finish(frame, segmentation, settings)


def _finish(frame, segmentation, settings):
    start = time.perf_counter()
    mask, card = segmentation.mask, segmentation.card
    part = settings.parts and settings.parts(frame.name, mask.shape, frame.origin)
    figures = measure(mask, card, part, settings.min_region, settings.max_boxes)
    grade, reasons = settings.grading(figures) if settings.grading else (None, [])
    record = {
        'source': frame.origin,
        'frame': frame.index,
        'seconds': frame.seconds,
        'at': frame.at,
        'height': mask.shape[0],
        'width': mask.shape[1],
        'part_pixels': None if part is None else int(cv2.countNonZero(part)),
        'grade': grade,
        'reasons': reasons,
        'classes': {name: dict(vars(f)) for name, f in figures.items()},
        'mask': None,
        'overlay': None,
        'stamp': frame.stamp,
    }
    measured = time.perf_counter()
    overlay = None
    if settings.overlays:
        overlay = segmentation.overlay(frame.image, settings.opacity)
    drawn = time.perf_counter()
    out = Finished(Frame(None, **_but_image(frame)), record)
    if frame.index is not None:
        out.overlay, out.mask = overlay, mask if settings.masks else None
    else:
        if settings.masks:
            record['mask'] = f'masks/{frame.name}.png'
            out.files[record['mask']] = encode_mask(mask, card)
        if overlay is not None:
            kind = settings.overlay_format
            most = LARGEST.get(kind)
            if most and max(overlay.shape[:2]) > most:
                out.remark = (
                    f'its overlay is a PNG, since {kind} ends at {most:,} pixels a side'
                )
                kind = 'png'
            record['overlay'] = f'overlays/{frame.name}.{kind}'
            out.files[record['overlay']] = encode_picture(
                overlay, kind, settings.quality
            )
    encoded = time.perf_counter()
    out.seconds = {
        'reading': frame.reading,
        **segmentation.seconds,
        'measuring': measured - start,
        'drawing': drawn - measured,
        'encoding': encoded - drawn,
    }
    return out


def encode_mask(mask: np.ndarray, card: ModelCard) -> bytes:
    """A PNG of class indices, uint8 (H, W), with the card's palette to be seen in.

    MMSegmentation's label loader reads it as it is, and so does PIL; OpenCV gives
    its colours.
    """
    image = Image.fromarray(mask)
    image.putpalette([channel for colour in card.palette for channel in colour])
    buffer = io.BytesIO()
    # more than 1 takes twice the time for a third of a size that is small anyway
    image.save(buffer, 'png', compress_level=1)
    return buffer.getvalue()


def encode_picture(image: np.ndarray, kind: str, quality: int = 90) -> bytes:
    """A picture, uint8 BGR (H, W, 3), as the content of a file.

    Args:
        image (np.ndarray): The picture.
        kind (str): 'jpg', 'png' or 'webp'.
        quality (int): Of 'jpg' and 'webp', 1 to 100. Defaults to 90.

    Raises:
        FrameError: The format cannot hold a picture of this size.
    """
    options = {
        'jpg': [cv2.IMWRITE_JPEG_QUALITY, quality],
        'webp': [cv2.IMWRITE_WEBP_QUALITY, quality],
        'png': [cv2.IMWRITE_PNG_COMPRESSION, 1],
    }
    try:
        done, content = cv2.imencode(f'.{kind}', image, options[kind])
    except cv2.error:
        done = False
    if not done:
        height, width = image.shape[:2]
        raise FrameError(
            f'a picture of {width} x {height} pixels cannot be encoded as {kind}; '
            'expected fewer: cut it into tiles'
        )
    return content.tobytes()


def _but_image(frame: Frame) -> dict:
    return {k: v for k, v in vars(frame).items() if k != 'image'}
