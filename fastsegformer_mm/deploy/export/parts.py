"""The parts of an artefact, and by which sizes they are traced."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..model_card import ModelCard
from .frame_input import FrameInput
from .mask_output import MaskOutput

# A free side is traced at a size of no special meaning: where it is what a table of the
# network was made for, that table alone would be written.
FREE = (160, 256)


@dataclass
class Part:
    """A module to be exported.

    Args:
        module (nn.Module): In evaluation mode.
        inputs (dict[str, Tensor]): Examples by name.
        outputs (list[str]): Names.
        free (dict[str, dict[int, str]]): Dimensions of inputs and outputs that may
            differ from the examples', by tensor and axis, with names.
    """

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: list[str]
    free: dict[str, dict[int, str]]

    def shape(self, name: str) -> list[int]:
        """Of an input, -1 where it is free."""
        sides = list(self.inputs[name].shape)
        return [-1 if i in self.free.get(name, {}) else s for i, s in enumerate(sides)]


def network_part(network: nn.Module, card: ModelCard) -> Part:
    """The image to the logits, at the card's ``shape`` and ``batch``."""
    free = {} if card.batch else {0: 'batch'}
    if not card.shape:
        free.update({2: 'height', 3: 'width'})
    height, width = card.shape or FREE
    image = torch.randn(
        card.batch or 2,
        card.channels,
        height,
        width,
        generator=torch.Generator().manual_seed(0),
    )
    return Part(
        network.eval(), {'image': image}, ['logits'], {'image': free, 'logits': free}
    )


def frame_part(card: ModelCard) -> Part:
    """The frame to the image and the frame's size."""
    frame = torch.zeros(card.batch or 2, 70, 90, 3, dtype=torch.uint8)
    batch = {} if card.batch else {0: 'batch'}
    image = dict(batch)
    if not card.shape:
        image.update({2: 'height', 3: 'width'})
    return Part(
        FrameInput(card).eval(),
        {'frame': frame},
        ['image', 'frame_size'],
        {'frame': {**batch, 1: 'frame_height', 2: 'frame_width'}, 'image': image},
    )


def mask_part(card: ModelCard) -> Part:
    """The logits and the frame's size to the mask."""
    height, width = card.shape or FREE
    channels = len(card.classes) if card.threshold is None else 1
    batch = {} if card.batch else {0: 'batch'}
    logits = dict(batch)
    if not card.shape:
        logits.update({2: 'height', 3: 'width'})
    frame_size = torch.tensor([90, 120])
    if card.resize == 'none':
        frame_size = torch.tensor([height, width])
    return Part(
        MaskOutput(card).eval(),
        {
            'logits': torch.zeros(card.batch or 2, channels, height, width),
            'frame_size': frame_size,
        },
        ['mask'],
        {
            'logits': logits,
            'mask': {**batch, 1: 'frame_height', 2: 'frame_width'},
        },
    )
