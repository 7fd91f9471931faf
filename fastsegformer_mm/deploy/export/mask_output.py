"""The part of a graph behind the network: logits into the frame's mask."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import DeployError
from ..model_card import ModelCard
from .geometry import place


class MaskOutput(nn.Module):
    """Logits to class indices at the frame's size, to be exported.

    Borders of the letterbox or of padding are cut off, logits are resized as the head
    resizes them, and the largest wins; the order is MMSegmentation's.

    Args:
        card (ModelCard): Of the model.

    Shape:
        - Input: Logits ``[N, C, h, w]``, and the frame's height and width, int64
          ``[2]``.
        - Output: ``[N, H, W]`` uint8.

    Raises:
        DeployError: There are more classes than a byte has values.
    """

    def __init__(self, card: ModelCard):
        super().__init__()
        if len(card.classes) > 256:
            raise DeployError(
                f'with_post: {card.name} has {len(card.classes)} classes; expected 256 '
                'at most, since masks are of one byte a pixel. Export without '
                '--with-post'
            )
        self.card = card

    def forward(self, logits: Tensor, frame_size: Tensor) -> Tensor:
        """See the class."""
        where = place(frame_size, self.card)
        top, left = where.offset[0], where.offset[1]
        height, width = where.size[0], where.size[1]
        logits = logits[:, :, top : top + height, left : left + width]
        logits = F.interpolate(
            logits,
            [frame_size[0], frame_size[1]],
            mode='bilinear',
            align_corners=self.card.align_corners,
        )
        if self.card.threshold is not None:
            return (logits[:, 0].sigmoid() > self.card.threshold).to(torch.uint8)
        return logits.argmax(1).to(torch.uint8)
