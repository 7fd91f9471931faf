"""A frame into the network's input."""

import functools

import mmcv
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fastsegformer_mm.datasets.transforms.letter_box import fitting_size

from .errors import FrameError
from .model_card import ModelCard
from .placement import Placement, check_frame
from .postprocess import Postprocess

__all__ = ['FramesAsTheyAre', 'Placement', 'Postprocess', 'Preprocess', 'check_frame']
# filters that PyTorch has as Pillow has them, widened to shrink an image
AS_PILLOW = ('bilinear', 'bicubic')


class Preprocess:
    """uint8 BGR frames of any size to the network's input, by a model's card.

    The same numbers as MMSegmentation's pipeline and data preprocessor give, with one
    exception: Pillow's bilinear and bicubic filters are computed by PyTorch, which
    takes an eighth of the time and rounds 1 in some 300 values the other way, by one
    grey level of 255. A network for grey images gets a frame as OpenCV makes it grey,
    from the colours; a file that is decoded to grey may differ by a grey level or two.

    Args:
        card (ModelCard): The model's.

    Example:
        >>> card = ModelCard('my', ('sound', 'ulcer'), ((0, 0, 0), (0, 128, 0)),
        ...                  (64, 64))
        >>> image, where = Preprocess(card)(np.zeros((200, 400, 3), np.uint8))
        >>> image.shape, where.size, where.top
        ((1, 3, 64, 64), (32, 64), 16)
    """

    def __init__(self, card: ModelCard):
        self.card = card
        self._mean, self._std = (
            torch.tensor(values)[:, None, None] for values in (card.mean, card.std)
        )
        self._shifts = any(card.mean)

    def placement(self, shape: tuple[int, int]) -> Placement:
        """Where a frame of ``shape`` (height, width) comes to lie."""
        card = self.card
        return _place(shape, card.resize, tuple(card.size), card.size_divisor)

    def __call__(
        self, frame: np.ndarray, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, Placement]:
        """Resize, place and normalise a frame.

        Args:
            frame (np.ndarray): uint8 BGR of (H, W, 3).
            out (np.ndarray, optional): What an earlier call returned, to be written
                again instead of new memory, whose pages have to be fetched from the
                system first. Ignored where its shape does not fit.

        Returns:
            tuple[np.ndarray, Placement]: (1, channels, h, w) float32, and where the
            frame lies in it.

        Raises:
            FrameError: The frame is no such array, or an artefact is fixed to
                another size than it comes to.
        """
        check_frame(frame)
        where = self.placement(frame.shape[:2])
        fixed = self.card.shape
        if fixed and fixed != where.canvas:
            raise FrameError(
                f'the frame of {frame.shape[0]} x {frame.shape[1]} pixels becomes an '
                f'input of {where.canvas[0]} x {where.canvas[1]}, and {self.card.name} '
                f'was exported for {fixed[0]} x {fixed[1]} only; export it with '
                '--shape dynamic'
            )
        shape = (1, self.card.channels, *where.canvas)
        if out is None or out.shape != shape:
            out = np.empty(shape, np.float32)
        if where.size != where.canvas:
            fill = 0.0
            if self.card.resize == 'letterbox':
                fill = (self.card.pad_val - self._mean) / self._std
            torch.from_numpy(out).copy_(torch.as_tensor(fill))
        if self.card.channels == 1:
            frame = mmcv.bgr2gray(frame)
        planes = self._resized(frame, where)
        if self.card.to_rgb:
            planes = planes.flip(1)
        bottom, right = where.top + where.size[0], where.left + where.size[1]
        # views are NumPy's: each operation of PyTorch costs 20 microseconds in turns
        # with a network, whose code and data have taken the caches
        inside = torch.from_numpy(out[:, :, where.top : bottom, where.left : right])
        if self._shifts:
            torch.sub(planes, self._mean, out=inside).div_(self._std)
        else:
            torch.div(planes, self._std, out=inside)
        return out, where

    def _resized(self, frame, where) -> Tensor:
        """(1, C, h, w) uint8 of the size that the frame is to have."""
        card = self.card
        size = where.size
        if size == where.frame:
            return _planes(frame)
        if card.resize_backend == 'pillow' and card.interpolation in AS_PILLOW:
            batch = _planes(frame)
            return F.interpolate(batch, size, mode=card.interpolation, antialias=True)
        image = mmcv.imresize(
            frame,
            size[::-1],
            interpolation=card.interpolation,
            backend=card.resize_backend,
        )
        return _planes(image)


class FramesAsTheyAre(Preprocess):
    """For artefacts that resize and normalise inside their graph."""

    def __call__(
        self, frame: np.ndarray, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, Placement]:
        """(H, W, 3) uint8 -> (1, H, W, 3) of the same memory, and its place."""
        check_frame(frame)
        return np.ascontiguousarray(frame)[None], self.placement(frame.shape[:2])


# the frames of a camera are of one size
@functools.lru_cache(maxsize=64)
def _place(shape, resize, canvas, divisor):
    """Where a frame comes to lie; all sizes as (height, width)."""
    if resize == 'letterbox':
        size = fitting_size(shape, canvas)
        top, left = ((c - s) // 2 for c, s in zip(canvas, size))
        return Placement(shape, size, top, left, canvas)
    size = shape
    if resize == 'stretch':
        size = canvas
    elif resize == 'keep_ratio':
        width, height = mmcv.rescale_size(shape[::-1], canvas[::-1])
        size = (height, width)
        if not width or not height:
            raise FrameError(
                f'the frame of {shape[0]} x {shape[1]} pixels would have none left as '
                f'an input of {canvas[0]} x {canvas[1]} with its aspect kept; cut it '
                'into tiles'
            )
    canvas = tuple(-(-side // divisor) * divisor for side in size)
    return Placement(shape, size, 0, 0, canvas)


def _planes(image: np.ndarray) -> Tensor:
    """(H, W, 3) to (1, 3, H, W), the memory as it is where PyTorch can take it.

    And (H, W) to (1, 1, H, W).
    """
    image = np.require(image, requirements='CW')
    if image.ndim == 2:
        return torch.from_numpy(image[None, None])
    return torch.from_numpy(image.transpose(2, 0, 1)[None])
