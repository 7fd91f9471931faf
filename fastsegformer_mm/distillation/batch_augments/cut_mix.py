"""A rectangle of another image."""

import torch
from mmrazor.registry import MODELS
from torch import Tensor

from .batch_mix import BatchMix


@MODELS.register_module()
class CutMix(BatchMix):
    """Paste a rectangle of another image of the batch into each.

    `Yun et al., ICCV 2019 <https://arxiv.org/abs/1905.04899>`_; for segmentation with
    few labels `French et al., BMVC 2020 <https://arxiv.org/abs/1906.01916>`_. Each
    image has a rectangle of its own: its area is uniform in ``area``, and its
    proportions are random, up to a stripe through the whole image.

    Args:
        area (tuple[float, float]): Least and largest share of the image. Defaults to
            (0.25, 0.5).
        prob (float), across (bool): See :class:`BatchMix`.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> model = dict(batch_augment=dict(type='CutMix', prob=1.0))
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.25, 0.5),
        prob: float = 0.5,
        across: bool = False,
    ) -> None:
        super().__init__(prob, across)
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(
                f'CutMix: area={area}, expected two shares, 0 < least <= largest <= 1'
            )
        self.area = tuple(area)

    def regions(self, inputs, data_samples, partner, predict) -> Tensor:
        """(N, H, W): one rectangle in each; see :class:`BatchMix`."""
        (count, _, height, width), (least, largest) = inputs.shape, self.area
        area = least + (largest - least) * torch.rand(count)
        share = area ** torch.rand(count)  # of the height, between the area and 1
        rows = _interval(share, height)
        columns = _interval(area / share, width)
        return rows[:, :, None] & columns[:, None, :]


def _interval(share: Tensor, size: int) -> Tensor:
    """(N, size): an interval of each share of ``size``, at a random place."""
    length = (share * size).round().clamp(1, size)
    start = (torch.rand(len(share)) * (size - length + 1)).floor()
    place = torch.arange(size)
    return (place >= start[:, None]) & (place < (start + length)[:, None])
