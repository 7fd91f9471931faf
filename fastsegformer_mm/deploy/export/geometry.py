"""Where a frame lies in the network's input, as operations of a graph.

What :class:`~fastsegformer_mm.deploy.placement.Placement` holds, and the filters of
resizing, computed from the frame's size inside an exported graph. Positions are whole
numbers: runtimes that compute in bfloat16 keep those exact.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import DeployError
from ..model_card import ModelCard

# (resize_backend, interpolation) that have a form below
FILTERS = (
    ('pillow', 'bilinear'),
    ('pillow', 'bicubic'),
    ('cv2', 'bilinear'),
)
# OpenCV's bilinear weights are whole numbers that add up to this
TAP = 2048


@dataclass
class GraphPlacement:
    """Where a frame lies, each a tensor of int64, (2,): height and width.

    Args:
        frame (Tensor): Size of the frame.
        size (Tensor): Of the frame resized.
        offset (Tensor): First row and column of it in the input.
        canvas (Tensor): Size of the input.
    """

    frame: Tensor
    size: Tensor
    offset: Tensor
    canvas: Tensor


def check_card(card: ModelCard) -> None:
    """Raise a DeployError where the way of a model's frames has no form here."""
    if card.resize == 'none':
        return
    if (card.resize_backend, card.interpolation) not in FILTERS:
        known = ' or '.join(f'{b} {i}' for b, i in FILTERS)
        raise DeployError(
            f'with_pre: {card.name} resizes frames by {card.resize_backend} '
            f'{card.interpolation}; expected {known}. Export without --with-pre, or '
            'set interpolation and backend of the resizing in the test pipeline, if '
            'training allows for it'
        )


def place(frame: Tensor, card: ModelCard) -> GraphPlacement:
    """Where a frame lies.

    Args:
        frame (Tensor): int64, (2,): its height and width.
        card (ModelCard): Of the model.
    """
    target = torch.tensor(card.size, dtype=torch.int64)
    none = torch.zeros(2, dtype=torch.int64)
    if card.resize == 'letterbox':
        size = torch.minimum(_fit(frame, target, frame), target)
        return GraphPlacement(frame, size, _half(target - size), target)
    size = frame
    if card.resize == 'stretch':
        size = target
    elif card.resize == 'keep_ratio':
        long, short = max(card.size), min(card.size)
        sides = torch.stack([frame.max(), frame.min()])
        size = _fit(sides, torch.tensor([long, short], dtype=torch.int64), frame)
    step = card.size_divisor
    canvas = torch.div(size + (step - 1), step, rounding_mode='trunc') * step
    return GraphPlacement(frame, size, none, canvas)


def _fit(sides: Tensor, limits: Tensor, frame: Tensor) -> Tensor:
    """``frame`` times the smaller of the two ``limits / sides``, rounded."""
    first = limits[0] * sides[1] <= limits[1] * sides[0]
    up = torch.where(first, limits[0], limits[1])
    down = torch.where(first, sides[0], sides[1])
    size = torch.div(2 * frame * up + down, 2 * down, rounding_mode='trunc')
    return size.clamp(min=1)


def _half(value: Tensor) -> Tensor:
    return torch.div(value, 2, rounding_mode='trunc')


def pillow_weights(
    length: Tensor, size: Tensor, offset: Tensor, canvas: Tensor, interpolation: str
) -> Tensor:
    """What each pixel of a line adds to each pixel of the line resized by Pillow.

    Its filter is widened to shrink an image, and leaves out what lies beyond the
    border.

    Args:
        length (Tensor): Pixels of the line, a number.
        size (Tensor): Pixels that become of them.
        offset (Tensor): Where the first of them lies on the canvas.
        canvas (Tensor): Pixels of the canvas. Those beside the resized line get
            whatever numbers.
        interpolation (str): 'bilinear' or 'bicubic'.

    Returns:
        Tensor: float32, (1, 1, length, canvas), for a product from the right.
    """
    source = (2 * torch.arange(length) + 1) * size
    target = (2 * (torch.arange(canvas) - offset) + 1) * length
    # of four dimensions from the start, for the same reason as in _inverse
    apart = (source.view(1, 1, -1, 1) - target.view(1, 1, 1, -1)).abs()
    x = apart.float() * _inverse((2 * torch.maximum(length, size)).float())
    weights = _cubic(x) if interpolation == 'bicubic' else _linear(x)
    return weights * _inverse(weights.sum(2, keepdim=True).clamp(min=0.1))


def opencv_taps(
    length: Tensor, size: Tensor, offset: Tensor, canvas: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Which two pixels of a line OpenCV mixes to one of the line resized.

    Args:
        length (Tensor): As :func:`pillow_weights`, also the next three.
        size (Tensor): Pixels.
        offset (Tensor): Pixels.
        canvas (Tensor): Pixels.

    Returns:
        tuple[Tensor]: (canvas,) each: index of the first, index of the second, both
        int64, and the second's part of ``TAP``, int32.
    """
    position = (2 * (torch.arange(canvas) - offset) + 1) * length - size
    # the border is repeated
    position = position.clamp(min=0)
    position = torch.minimum(position, 2 * size * (length - 1))
    step = 2 * size
    first = torch.div(position, step, rounding_mode='trunc')
    rest = position - first * step
    part = torch.div(2 * TAP * rest + step, 2 * step, rounding_mode='trunc')
    second = torch.minimum(first + 1, length - 1)
    return first, second, part.to(torch.int32)


def _inverse(x: Tensor) -> Tensor:
    """1 / x.

    Divisions, powers and subtractions of floats are taken apart by OpenVINO, which
    forgets of their parts that they are to stay in float32.
    """
    guess = (-1.0 * x.log()).exp()
    return guess * (-1.0 * x * guess + 2.0)


def _linear(x: Tensor) -> Tensor:
    return (-1.0 * x + 1.0).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -0.5, Pillow's."""
    near = x * x * (1.5 * x + -2.5) + 1.0
    far = x * (x * (-0.5 * x + 2.5) + -4.0) + 2.0
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros(())))
