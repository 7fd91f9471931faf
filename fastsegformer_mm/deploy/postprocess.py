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
STRIP = 98304
# of a pixel before resizing, by which a position may be rounded
MARGIN = 1e-2


class Postprocess:
    """Logits at the input's size to a mask at the frame's, as MMSegmentation does it.

    Logits are resized first and compared then, class by class in strips of rows, for
    comparing them first would be wrong along every edge. But where the four logits
    around a pixel have the same largest class, so has whatever lies between them: only
    the part of a strip in which neighbours differ is resized at all. A few defects on
    a sound fruit take a third of the time of the whole frame, and a large frame takes
    no more memory than a small one. Only where two classes are equal to the last
    digits may a pixel become the other one.

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
        bound = None
        if len(planes) == 1:
            bound = _logit(self.card.threshold)
        elif len(planes) == 2:
            # one plane to resize instead of two, and the same sign
            planes, bound = planes[1:] - planes[:1], 0.0
        mask = np.empty(where.frame, np.uint8)
        if warps_exactly():
            self._by_strips(planes, bound, mask)
        else:
            tensor = torch.from_numpy(np.ascontiguousarray(planes))[None]
            corners = self.card.align_corners
            resized = resize(tensor, where.frame, None, 'bilinear', corners, False)[0]
            self._label(resized.numpy(), bound, mask)
        return mask

    def _label(self, planes, bound, mask):
        """Write each pixel's class: above ``bound``, or of the largest plane."""
        if bound is None:
            self._largest(planes, mask)
        else:
            cv2.compare(planes[0], bound, cv2.CMP_GT, dst=mask)
            cv2.min(mask, 1, dst=mask)

    def _largest(self, planes, mask):
        """Write the index of the largest plane at each pixel, the first of equals."""
        best = planes[0]
        largest = self._buffer('largest', mask.shape)
        found = self._buffer('found', mask.shape, np.uint8)
        for k in range(1, len(planes)):
            # a later class wins only where it is above all before it, so that the
            # largest of the winners' indices is that of the last winner
            cv2.compare(planes[k], best, cv2.CMP_GT, dst=found)
            if k == 1:
                cv2.min(found, 1, dst=mask)
            else:
                cv2.min(found, k, dst=found)
                cv2.max(mask, found, dst=mask)
            if k + 1 < len(planes):
                best = cv2.max(best, planes[k], dst=largest)

    def _by_strips(self, planes, bound, mask):
        """Resize and compare strip by strip, and only where neighbours differ."""
        height, width = mask.shape
        small = self._buffer('small', planes.shape[1:], np.uint8)
        self._label(planes, bound, small)
        mixed = _mixed(small)
        corners = self.card.align_corners
        rows = axis(planes.shape[1], height, corners)
        columns = axis(planes.shape[2], width, corners)
        count = min(max(STRIP // width, 1), height)
        for top in range(0, height, count):
            bottom = min(top + count, height)
            first, last = rows.between(top, bottom)
            left, above, wide, high = cv2.boundingRect(mixed[first:last])
            # around the rectangle lies one class, or one on each side of it
            if not wide:
                mask[top:bottom] = small[first, 0]
                continue
            above += first
            upper, lower = rows.reached_by(above, above + high)
            upper, lower = max(upper, top), min(lower, bottom)
            left, right = columns.reached_by(left, left + wide)
            mask[top:upper] = small[first, 0]
            mask[upper:lower, :left] = small[above, 0]
            mask[upper:lower, right:] = small[above, -1]
            # of a single row there is none below
            mask[lower:bottom] = small[min(last, len(small) - 1), 0]
            resized = self._resized(planes, rows, columns, (upper, lower, left, right))
            self._label(resized, bound, mask[upper:lower, left:right])

    def _resized(self, planes, rows, columns, box):
        """The part (upper, lower, left, right) of the planes resized."""
        upper, lower, left, right = box
        first_row, last_row = rows.between(upper, lower)
        first_column, last_column = columns.between(left, right)
        part = planes[:, first_row : last_row + 1, first_column : last_column + 1]
        down, across = rows.start_at(upper), columns.start_at(left)
        inverse = np.array(
            [
                [columns.step, 0, float(across) - first_column],
                [0, rows.step, float(down) - first_row],
            ]
        )
        shape = lower - upper, right - left
        out = self._buffer('strip', (len(planes), *shape))
        for first, group in self._groups(part):
            last = first + group.shape[2]
            if group.shape[2] == 1:
                _warp(group, inverse, out[first])
                continue
            mixed = self._buffer('mixed', (*shape, group.shape[2]))
            _warp(group, inverse, mixed)
            cv2.split(mixed, list(out[first:last]))
        return out

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
        size = math.prod(shape)
        held = getattr(self._scratch, name, None)
        if held is None or held.size < size:
            held = np.empty(size, dtype)
            setattr(self._scratch, name, held)
        return held[:size].reshape(shape)


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


def _mixed(labels):
    """(h, w) uint8 to (h - 1, w - 1): not 0 where four neighbours are not all equal.

    Of one row or column, all: there are no four.
    """
    if min(labels.shape) < 2:
        return np.full([max(side - 1, 1) for side in labels.shape], 255, np.uint8)
    down = cv2.bitwise_xor(labels[1:], labels[:-1])
    right = cv2.bitwise_xor(labels[:, 1:], labels[:, :-1])
    out = cv2.bitwise_or(down[:, 1:], down[:, :-1])
    cv2.bitwise_or(out, right[1:], dst=out)
    return cv2.bitwise_or(out, right[:-1], dst=out)


class Axis:
    """Positions along one side of an image that is resized bilinearly.

    Step and start are in float32, as PyTorch has them.

    Args:
        size (int): Before.
        wanted (int): After.
        corners (bool): Whether the centres of the outermost pixels come to lie on each
            other (``align_corners``), or the image's edges.

    Example:
        >>> axis = Axis(3, 6, corners=False)
        >>> axis.between(0, 2), axis.reached_by(1, 2)
        ((0, 1), (1, 6))
    """

    def __init__(self, size: int, wanted: int, corners: bool):
        self.cells, self.wanted = max(size - 1, 1), wanted
        size, wanted = np.float32(size), np.float32(wanted)
        if corners:
            self.step = (size - 1) / max(wanted - 1, np.float32(1))
            self.start = np.float32(0)
        else:
            self.step = size / wanted
            self.start = self.step / 2 - np.float32(0.5)
        # Python's own numbers, which are faster one by one
        self._step, self._start = float(self.step), float(self.start)

    def start_at(self, first: int) -> np.float32:
        """Where the pixel ``first`` after lies among those before."""
        return np.float32(first) * self.step + self.start

    def between(self, first: int, last: int) -> tuple[int, int]:
        """The cells between pixels before that those from ``first`` to ``last`` read.

        A position that rounding may have put into the next cell reads both.
        """
        low = math.floor(first * self._step + self._start - MARGIN)
        high = math.ceil((last - 1) * self._step + self._start + MARGIN)
        low = min(max(low, 0), self.cells - 1)
        return low, min(max(high, low + 1), self.cells)

    def reached_by(self, first: int, last: int) -> tuple[int, int]:
        """All pixels after that read a cell from ``first`` to ``last``, or more."""
        if not self._step:
            return 0, self.wanted
        low = math.floor((first - self._start) / self._step) - 1
        high = math.ceil((last - self._start) / self._step) + 2
        # beyond the outermost cell its pixels are repeated
        low = 0 if first == 0 else max(low, 0)
        high = self.wanted if last == self.cells else min(high, self.wanted)
        return low, high


# the frames of a camera are of one size
axis = functools.lru_cache(maxsize=64)(Axis)


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
    wanted = resize(planes, (11, 16), None, 'bilinear', True, warning=False)[0]
    return bool(np.allclose(found, wanted.permute(1, 2, 0).numpy(), atol=1e-5))
