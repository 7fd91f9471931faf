"""The way a frame goes in FastSegFormer's official project, to compare with."""

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..frames import Preprocess, check_frame
from ..model_card import ModelCard
from ..placement import Placement


class ReferenceLoop:
    """The reference loop: what the official project does with each frame.

    Pillow resizes the frame with its bicubic filter and pastes it on a grey canvas
    (letterbox); the eager network in float32 gives logits at its own size; softmax;
    the letterbox is cut off; OpenCV resizes all classes' float probabilities to the
    frame at once (bilinear); argmax. A model whose card does not letterbox is resized
    by Pillow as its card says.

    It has the parts of :class:`~fastsegformer_mm.deploy.DefectSegmentor` that a
    benchmark times.

    Args:
        network (DeployNetwork): As it was trained.
        card (ModelCard): Its.

    Example:
        >>> loop = ReferenceLoop(*load_network('config.py', 'best.pth'))
        >>> loop.segment(frame).shape == frame.shape[:2]
        True
    """

    def __init__(self, network, card: ModelCard):
        self.network = network.eval()
        self.card = card
        self._place = Preprocess(card)

    def preprocess(self, frame: np.ndarray, out=None) -> tuple[np.ndarray, Placement]:
        """(H, W, 3) uint8 BGR -> (1, C, h, w) float32, and where the frame lies.

        ``out``, memory to use again, is not used here.
        """
        check_frame(frame)
        card = self.card
        where = self._place.placement(frame.shape[:2])
        mode, order = 'RGB', cv2.COLOR_BGR2RGB
        if card.channels == 1:
            mode, order = 'L', cv2.COLOR_BGR2GRAY
        image = Image.fromarray(cv2.cvtColor(frame, order))
        image = image.resize(where.size[::-1], Image.Resampling.BICUBIC)
        canvas = Image.new(mode, where.canvas[::-1], (card.pad_val,) * card.channels)
        canvas.paste(image, (where.left, where.top))
        pixels = np.array(canvas, np.float32).reshape(*where.canvas, card.channels)
        if card.channels == 3 and not card.to_rgb:
            pixels = pixels[..., ::-1]
        pixels = (pixels - np.array(card.mean, np.float32)) / np.array(
            card.std, np.float32
        )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], where

    @torch.inference_mode()
    def backend(self, image: np.ndarray) -> Tensor:
        """(1, 3, h, w) float32 -> logits (1, C, h, w)."""
        return self.network(torch.from_numpy(image))

    def postprocess(self, logits: Tensor, where: Placement) -> np.ndarray:
        """(1, C, h, w) -> (H, W) uint8 class indices."""
        card = self.card
        logits = torch.as_tensor(logits)[0].permute(1, 2, 0)
        if card.threshold is None:
            scores = logits.softmax(-1)
        else:
            scores = logits.sigmoid()
        scores = scores.numpy()[
            where.top : where.top + where.size[0],
            where.left : where.left + where.size[1],
        ]
        scores = cv2.resize(
            scores, where.frame[::-1], interpolation=cv2.INTER_LINEAR
        ).reshape(*where.frame, -1)
        if card.threshold is not None:
            return (scores[..., 0] > card.threshold).astype(np.uint8)
        return scores.argmax(-1).astype(np.uint8)

    def segment(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (H, W) uint8."""
        image, where = self.preprocess(frame)
        return self.postprocess(self.backend(image), where)
