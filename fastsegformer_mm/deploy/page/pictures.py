"""Pictures as a browser takes them, without a file of them."""

import base64
import io

import cv2
import numpy as np
from PIL import Image

from fastsegformer_mm.deploy.model_card import ModelCard
from fastsegformer_mm.deploy.prediction.finish import encode_picture
from fastsegformer_mm.visualization.drawing import class_colours

# longer side of a picture that is shown, in pixels
SHOWN = 1280


def data_uri(kind: str, content: bytes) -> str:
    """Content as an address that holds it.

    Example:
        >>> data_uri('text/csv', b'a,b')
        'data:text/csv;base64,YSxi'
    """
    return f'data:{kind};base64,{base64.b64encode(content).decode()}'


def shown_size(width: int, height: int, most: int = SHOWN) -> tuple[int, int]:
    """Width and height with the longer side of at most ``most`` pixels.

    Example:
        >>> shown_size(2560, 1920)
        (1280, 960)
    """
    scale = min(most / max(width, height), 1)
    return tuple(max(round(scale * side), 1) for side in (width, height))


def shown_frame(frame: np.ndarray) -> bytes:
    """A frame, uint8 BGR, as a JPEG of a size to look at."""
    size = shown_size(*frame.shape[1::-1])
    if size != frame.shape[1::-1]:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return encode_picture(frame, 'jpg', 92)


def shown_mask(mask: np.ndarray, card: ModelCard) -> bytes:
    """A mask as a PNG in the classes' colours, to be laid over the frame.

    What :meth:`Segmentation.overlay` leaves as it is has no colour here.

    Args:
        mask (np.ndarray): uint8 of (H, W).
        card (ModelCard): The model's.
    """
    size = shown_size(*mask.shape[1::-1])
    if size != mask.shape[1::-1]:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    colours = class_colours(card.palette)
    alpha = [255] * len(colours) + [0] * (256 - len(colours))
    if card.background_index is not None:
        alpha[card.background_index] = 0
    picture = Image.fromarray(mask, 'L').convert('P')
    picture.putpalette([value for colour in colours for value in colour])
    out = io.BytesIO()
    picture.save(out, 'PNG', transparency=bytes(alpha))
    return out.getvalue()
