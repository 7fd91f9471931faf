"""The part of a graph in front of the network: a frame into its input."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model_card import ModelCard
from .geometry import TAP, check_card, opencv_taps, pillow_weights, place


class FrameInput(nn.Module):
    """uint8 BGR frames of any size to the normalised image, to be exported.

    Pillow's resizing is a product with a matrix from the left and one from the right,
    whose entries follow from the frame's size, with the rounding to whole grey levels
    that it has after each: this differs from Pillow by one grey level in a thousandth
    of the values, where ONNX Runtime's own antialiased resizing differs by up to ten,
    and OpenVINO's takes ten times as long. OpenCV's is done in its whole numbers.

    Args:
        card (ModelCard): How frames come to the network's size.

    Shape:
        - Input: ``[N, H, W, 3]`` uint8.
        - Output: ``[N, C, h, w]`` float32, where C are the card's ``channels``, and
          the frame's size, int64 ``[2]``.

    Raises:
        DeployError: The card has a filter without a form in a graph.
    """

    def __init__(self, card: ModelCard):
        super().__init__()
        check_card(card)
        self.card = card
        order = [2, 1, 0] if card.to_rgb else [*range(card.channels)]
        self.register_buffer('order', torch.tensor(order))
        scale = 1 / torch.tensor(card.std, dtype=torch.float64)
        shift = -torch.tensor(card.mean, dtype=torch.float64) * scale
        for name, value in (('scale', scale), ('shift', shift)):
            self.register_buffer(name, value.float()[None, :, None, None])

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        card = self.card
        frame_size = torch._shape_as_tensor(frame)[1:3]
        image = frame.permute(0, 3, 1, 2)
        if card.channels == 1:
            image = _grey(image)
        where = place(frame_size, card)
        if card.resize == 'none':
            image = self._normalise(image.float())
            if card.size_divisor > 1:
                bottom, right = where.canvas - frame_size
                image = F.pad(image, (0, right, 0, bottom))
            return image, frame_size
        image = self._resized(image, where)
        inside = _inside(where, 0)[:, None] & _inside(where, 1)
        if card.resize == 'letterbox':
            image = torch.where(inside, image, torch.tensor(float(card.pad_val)))
            image = self._normalise(image)
            # so that the network behind it knows its size
            return image.view(-1, card.channels, *card.size), frame_size
        image = self._normalise(image)
        if card.size_divisor > 1:
            image = torch.where(inside, image, torch.zeros(()))
        if card.resize == 'stretch':
            canvas = [-(-s // card.size_divisor) * card.size_divisor for s in card.size]
            image = image.view(-1, card.channels, *canvas)
        return image, frame_size

    def _resized(self, image, where):
        """(N, C, H, W) bytes to whole grey levels, float, on the canvas."""
        lines = [
            (where.frame[i], where.size[i], where.offset[i], where.canvas[i])
            for i in (0, 1)
        ]
        if self.card.resize_backend == 'cv2':
            return _opencv(image.to(torch.int32), *lines).float()
        down, right = (pillow_weights(*line, self.card.interpolation) for line in lines)
        image = _whole(image.float() @ right)
        return _whole(image.transpose(2, 3) @ down).transpose(2, 3)

    def _normalise(self, image):
        return image[:, self.order] * self.scale + self.shift


def _grey(image):
    """(N, 3, H, W) uint8 BGR to (N, 1, H, W), in whole numbers as OpenCV does it."""
    blue, green, red = image.to(torch.int32).split(1, 1)
    return _shifted(3735 * blue + 19235 * green + 9798 * red + 2**14, 15)


def _inside(where, axis):
    position = torch.arange(where.canvas[axis]) - where.offset[axis]
    return (position >= 0) & (position < where.size[axis])


def _whole(image):
    return (image + 0.5).floor().clamp(0, 255)


def _opencv(image, down, right):
    """OpenCV's bilinear resizing of bytes, with every bit that it cuts off."""
    upper, lower, below = opencv_taps(*down)
    first, second, beside = opencv_taps(*right)
    below = below[:, None]

    def row(index):
        lines = image[:, :, index]
        mixed = lines[..., first] * (TAP - beside) + lines[..., second] * beside
        return _shifted(mixed, 4)

    top = _shifted(row(upper) * (TAP - below), 16)
    return _shifted(top + _shifted(row(lower) * below, 16) + 2, 2)


def _shifted(value, bits):
    """To the right; of what is not negative."""
    return torch.div(value, 2**bits, rounding_mode='trunc')
