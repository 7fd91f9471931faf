"""Logits into the frame's mask."""

import functools
import math
import threading

import cv2
import numpy as np
import torch
from mmseg.models.utils import resize
from torch import Tensor

from .errors import DeployError
from .model_card import ModelCard
from .placement import Placement

# pixels that are resized and compared at a time, so that they stay in the cache
STRIP = 65536


class Postprocess:
    """Logits at the input's size to a mask at the frame's, as MMSegmentation does it.

    Logits are resized first and compared then, class by class in strips of rows: this
    takes a quarter of the time of resizing and searching them all at once, and no more
    memory for a large frame than for a small one. Only where two classes are equal to
    the last digits may a pixel become the other one. The labels before resizing would
    be faster still and wrong along every edge.

    Args:
        card (ModelCard): The model's.

    Raises:
        DeployError: The model has more classes than a byte has values.

    Example:
        >>> card = ModelCard('my', ('sound', 'ulcer'), ((0, 0, 0), (0, 128, 0)),
        ...                  (2, 2))
        >>> logits = np.float32([[[[0, 0], [0, 0]], [[-2, 2], [-2, 2]]]])
        >>> Postprocess(card)(logits, Placement((2, 4), (2, 2), 0, 0, (2, 2)))
        array([[0, 0, 1, 1],
               [0, 0, 1, 1]], dtype=uint8)
    """

    def __init__(self, card: ModelCard):
        if len(card.classes) > 256:
            raise DeployError(
                f'{card.name} has {len(card.classes)} classes; expected 256 at most, '
                'since masks are of one byte a pixel'
            )
        self.card = card
        self._scratch = threading.local()

    def __call__(self, logits: np.ndarray | Tensor, where: Placement) -> np.ndarray:
        """Logits to labels.

        Args:
            logits (np.ndarray | Tensor): (1, C, h, w) float.
            where (Placement): Of the frame, as :class:`Preprocess` gave it.

        Returns:
            np.ndarray: (H, W) uint8 class indices, the caller's own.
        """
        if isinstance(logits, Tensor):
            logits = logits.float().cpu().numpy()
        bottom, right = where.top + where.size[0], where.left + where.size[1]
        planes = logits[0, :, where.top : bottom, where.left : right]
        planes = np.asarray(planes, np.float32)
        mask = np.empty(where.frame, np.uint8)
        if len(planes) == 1:
            self._above(planes, _logit(self.card.threshold), mask)
        elif len(planes) == 2:
            # one plane to resize instead of two, and the same sign
            self._above(planes[1:] - planes[:1], 0.0, mask)
        else:
            for rows, resized in self._strips(planes, where.frame):
                self._largest(resized, mask[rows])
        return mask

    def _above(self, planes, bound, mask):
        """Write 1 where the one plane, resized, is above ``bound``, 0 elsewhere."""
        for rows, resized in self._strips(planes, mask.shape):
            cv2.compare(resized[0], bound, cv2.CMP_GT, dst=mask[rows])
            cv2.min(mask[rows], 1, dst=mask[rows])

    def _largest(self, planes, mask):
        """Write the index of the largest plane at each pixel, the first of equals."""
        best = planes[0]
        found = self._buffer('found', mask.shape, np.uint8)
        mask[:] = 0
        for k in range(1, len(planes)):
            # a later class wins only where it is above all before it, so that the
            # largest of the winners' indices is that of the last winner
            cv2.compare(planes[k], best, cv2.CMP_GT, dst=found)
            cv2.min(found, k, dst=found)
            cv2.max(mask, found, dst=mask)
            if k + 1 < len(planes):
                cv2.max(best, planes[k], dst=best)

    def _strips(self, planes, frame):
        """Yield slices of the frame's rows and the planes resized to them."""
        height, width = frame
        corners = self.card.align_corners
        if not warps_exactly():
            tensor = torch.from_numpy(np.ascontiguousarray(planes))[None]
            yield (
                slice(None),
                resize(tensor, frame, None, 'bilinear', corners)[0].numpy(),
            )
            return
        step_y, start_y = _steps(planes.shape[1], height, corners)
        step_x, start_x = _steps(planes.shape[2], width, corners)
        count = min(max(STRIP // width, 1), height)
        strip = self._buffer('strip', (len(planes), count, width))
        groups = self._groups(planes)
        for top in range(0, height, count):
            rows = slice(top, min(top + count, height))
            resized = strip[:, : rows.stop - top]
            start = np.float32(top) * step_y + start_y
            inverse = np.array([[step_x, 0, start_x], [0, step_y, start]])
            for first, group in groups:
                last = first + group.shape[2]
                if group.shape[2] == 1:
                    _warp(group, inverse, resized[first])
                    continue
                mixed = self._buffer('mixed', (count, width, group.shape[2]))
                mixed = mixed[: rows.stop - top]
                _warp(group, inverse, mixed)
                cv2.split(mixed, list(resized[first:last]))
            yield rows, resized

    def _groups(self, planes):
        """[(index of the first, (h, w, channels))]: planes interleaved for OpenCV."""
        groups, first = [], 0
        while first < len(planes):
            left = len(planes) - first
            # never two, of which OpenCV has no exact warp
            channels = 3 if left in (3, 6) else min(left, 4)
            part = planes[first : first + channels]
            buffer = self._buffer(f'group{first}', (*part.shape[1:], channels))
            groups.append((first, cv2.merge(list(part), buffer).reshape(buffer.shape)))
            first += channels
        return groups

    def _buffer(self, name, shape, dtype=np.float32):
        """Memory of this thread, which is written again at every frame."""
        held = getattr(self._scratch, name, None)
        if held is None or held.shape != shape:
            held = np.empty(shape, dtype)
            setattr(self._scratch, name, held)
        return held


class MasksAsTheyAre(Postprocess):
    """For artefacts that resize and compare logits inside their graph."""

    def __call__(self, masks: np.ndarray, where: Placement) -> np.ndarray:
        """(1, H, W) -> (H, W) uint8, the caller's own."""
        return np.array(masks[0], np.uint8)


def _logit(share):
    """Where the sigmoid is ``share``."""
    if not 0 < share < 1:
        return -math.inf if share <= 0 else math.inf
    return math.log(share / (1 - share))


def _steps(size, wanted, corners):
    """Step and start in float32, as PyTorch has them, of an axis resized."""
    size, wanted = np.float32(size), np.float32(wanted)
    if corners:
        return (size - 1) / max(wanted - 1, np.float32(1)), np.float32(0)
    step = size / wanted
    return step, step / 2 - np.float32(0.5)


def _warp(image, inverse, out):
    """Resize by bilinear interpolation into ``out``, edges held."""
    cv2.warpAffine(
        image,
        inverse,
        out.shape[1::-1],
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )


@functools.cache
def warps_exactly() -> bool:
    """Whether OpenCV's affine warp computes in float32, as that of 5.0 does.

    Older ones round positions to 1/32 of a pixel; then PyTorch has to resize.
    """
    image = np.random.default_rng(0).random((5, 7, 4), np.float32)
    found = np.empty((11, 16, 4), np.float32)
    _warp(image, np.array([[6 / 15, 0, 0], [0, 4 / 10, 0]]), found)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    wanted = resize(planes, (11, 16), None, 'bilinear', True)[0].permute(1, 2, 0)
    return bool(np.allclose(found, wanted.numpy(), atol=1e-5))
