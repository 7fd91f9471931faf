"""What was found in one frame."""

from dataclasses import dataclass, field

import cv2
import numpy as np

from fastsegformer_mm.visualization.drawing import class_colours

from .errors import DeployError
from .frames import check_frame
from .model_card import ModelCard


@dataclass
class Segmentation:
    """What was found in one frame.

    Args:
        mask (np.ndarray): Class indices, uint8 of the frame's (H, W). It belongs to
            the caller: no later frame writes into it.
        card (ModelCard): The model's, with its classes and palette.
        seconds (dict[str, float]): Of 'preprocess', 'network' and 'postprocess'.
            With an artefact that has a part of them inside its graph, 'network' has
            that part's time and the part itself has nearly none.

    Example:
        >>> card = ModelCard('my', ('background', 'ulcer'),
        ...                  ((0, 0, 0), (0, 128, 0)), (224, 224))
        >>> found = Segmentation(np.array([[0, 1]], np.uint8), card)
        >>> found.overlay(np.full((1, 2, 3), 100, np.uint8), 0.4).tolist()
        [[[100, 100, 100], [60, 162, 60]]]
    """

    mask: np.ndarray
    card: ModelCard
    seconds: dict[str, float] = field(default_factory=dict)

    def overlay(self, frame: np.ndarray, opacity: float = 0.5) -> np.ndarray:
        """The frame with each class in its colour; what is background stays as it is.

        Colours are the palette's at full brightness. Background is the card's; without
        one every class is coloured. Classes that the palette has no colour for stay as
        they are.

        Args:
            frame (np.ndarray): The frame, uint8 BGR of the mask's (H, W, 3).
            opacity (float): Of the colours, 0 (none to be seen) to 1 (they cover the
                frame). Defaults to 0.5.

        Returns:
            np.ndarray: A new uint8 BGR image of (H, W, 3).

        Raises:
            DeployError: The frame is not the mask's, or the opacity out of range.
        """
        check_frame(frame)
        if frame.shape[:2] != self.mask.shape:
            raise DeployError(
                f'the frame is {frame.shape[0]} x {frame.shape[1]} and the mask '
                f'{self.mask.shape[0]} x {self.mask.shape[1]} pixels; expected the '
                'frame that the mask was found in'
            )
        if not 0 <= opacity <= 1:
            raise DeployError(f'opacity={opacity!r}; expected a number from 0 to 1')
        colours, coloured = _tables(self.card.background_index, self.card.palette)
        drawn = frame.copy()
        where = cv2.LUT(self.mask, coloured)
        if cv2.hasNonZero(where):
            paint = cv2.applyColorMap(self.mask, colours)
            blend = cv2.addWeighted(frame, 1 - opacity, paint, opacity, 0)
            cv2.copyTo(blend, where, drawn)
        return drawn


def _tables(background, palette):
    """(256, 1, 3) uint8, BGR of each index; 256 uint8, 255 for indices coloured."""
    colours = np.zeros((256, 1, 3), np.uint8)
    coloured = np.zeros(256, np.uint8)
    bright = np.array(class_colours(palette)[:256], np.uint8).reshape(-1, 1, 3)
    colours[: len(bright)] = bright[..., ::-1]
    coloured[: len(bright)] = 255
    if background is not None:
        coloured[background] = 0
    return colours, coloured
