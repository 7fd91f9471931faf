"""A frame into the network's input, and logits into the frame's mask."""

from dataclasses import dataclass

import mmcv
import numpy as np
import torch
from mmseg.models.utils import resize
from torch import Tensor

from fastsegformer_mm.datasets.transforms.letter_box import fitting_size

from .errors import DeployError
from .model_card import ModelCard


@dataclass(frozen=True)
class Placement:
    """Where a frame lies in the network's input.

    Args:
        frame (tuple[int]): Height and width of the frame.
        size (tuple[int]): Those of the frame resized.
        top (int): First row of it in the input.
        left (int): First column.
        canvas (tuple[int]): Height and width of the input.
    """

    frame: tuple[int, int]
    size: tuple[int, int]
    top: int
    left: int
    canvas: tuple[int, int]


def check_frame(frame) -> None:
    """Raise a DeployError unless ``frame`` is uint8 of (H, W, 3)."""
    if (
        not isinstance(frame, np.ndarray)
        or frame.dtype != np.uint8
        or frame.ndim != 3
        or frame.shape[2] != 3
        or not frame.size
    ):
        got = (
            f'{frame.dtype} of {frame.shape}'
            if isinstance(frame, np.ndarray)
            else type(frame).__name__
        )
        raise DeployError(
            f'a frame is {got}; expected a NumPy array of uint8, (height, width, 3), '
            "BGR as OpenCV's imread gives it"
        )


class Preprocess:
    """uint8 BGR frames of any size to the network's input, by a model's card.

    Args:
        card (ModelCard): The model's.
    """

    def __init__(self, card: ModelCard):
        self.card = card

    def placement(self, shape: tuple[int, int]) -> Placement:
        """Where a frame of ``shape`` (height, width) comes to lie."""
        card = self.card
        if card.resize == 'letterbox':
            size = fitting_size(shape, card.size)
            top, left = ((c - s) // 2 for c, s in zip(card.size, size))
            return Placement(shape, size, top, left, card.size)
        size = shape
        if card.resize == 'stretch':
            size = card.size
        elif card.resize == 'keep_ratio':
            width, height = mmcv.rescale_size(shape[::-1], card.size[::-1])
            size = (height, width)
        canvas = tuple(-(-s // card.size_divisor) * card.size_divisor for s in size)
        return Placement(shape, size, 0, 0, canvas)

    def __call__(self, frame: np.ndarray) -> tuple[np.ndarray, Placement]:
        """(H, W, 3) uint8 -> (1, 3, h, w) float32, and where the frame lies in it."""
        check_frame(frame)
        card = self.card
        where = self.placement(frame.shape[:2])
        image = frame
        if where.size != where.frame:
            image = mmcv.imresize(
                frame,
                where.size[::-1],
                interpolation=card.interpolation,
                backend=card.resize_backend,
            )
        out = np.zeros((1, 3, *where.canvas), np.float32)
        mean, std = (
            np.array(v, np.float32)[:, None, None] for v in (card.mean, card.std)
        )
        if card.resize == 'letterbox':
            out += (card.pad_val - mean) / std
        planes = image.transpose(2, 0, 1)[:: -1 if card.to_rgb else 1]
        rows = slice(where.top, where.top + where.size[0])
        columns = slice(where.left, where.left + where.size[1])
        out[0, :, rows, columns] = (planes - mean) / std
        return out, where


class Postprocess:
    """Logits at the input's size to a mask at the frame's, as MMSegmentation does it.

    Args:
        card (ModelCard): The model's.
    """

    def __init__(self, card: ModelCard):
        self.card = card

    def __call__(self, logits: np.ndarray | Tensor, where: Placement) -> np.ndarray:
        """(1, C, h, w) float -> (H, W) uint8 class indices."""
        card = self.card
        logits = torch.as_tensor(logits)[
            ...,
            where.top : where.top + where.size[0],
            where.left : where.left + where.size[1],
        ]
        logits = resize(
            logits.float(), where.frame, None, 'bilinear', card.align_corners, False
        )[0]
        if card.threshold is not None:
            return (logits.sigmoid()[0] > card.threshold).numpy().astype(np.uint8)
        return logits.argmax(0).numpy().astype(np.uint8)
