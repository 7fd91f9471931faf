"""Parts of one image of a batch pasted into another: CutMix and ClassMix."""

from abc import ABC, abstractmethod

import torch
from mmrazor.registry import TASK_UTILS
from torch import Tensor


class BatchMix(ABC):
    """Paste a part of each image's partner into it, in the labels as well.

    An image's partner is another one of the batch, labelled if it is labelled itself:
    no labelled pixel is lost to an unlabelled photograph.

    Args:
        prob (float): Of an image to be mixed. Defaults to 0.5.
    """

    needs_classes = False

    def __init__(self, prob: float = 0.5) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'{type(self).__name__}: prob={prob}; expected 0 to 1')
        self.prob = prob

    def __call__(
        self, images: Tensor, labels: Tensor, groups: Tensor, classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images (Tensor): (N, C, H, W).
            labels (Tensor): (N, H, W).
            groups (Tensor): (N,), equal where two images may be mixed.
            classes (Tensor): (N, H, W), the classes that the pixels are taken to
                have; below 0 or 255 for unknown.

        Returns:
            tuple[Tensor, Tensor]: Both, mixed; the arguments are left as they are.
        """
        partner = _partners(groups)
        chosen = torch.rand(len(images)) < self.prob
        chosen = chosen.view(-1, 1, 1).to(labels.device)
        pasted = self.regions(classes[partner]) & chosen
        return (
            torch.where(pasted[:, None], images[partner], images),
            torch.where(pasted, labels[partner], labels),
        )

    @abstractmethod
    def regions(self, classes: Tensor) -> Tensor:
        """Where the partner is pasted: (N, H, W), bool; from its classes, alike."""


@TASK_UTILS.register_module()
class CutMix(BatchMix):
    """Paste a rectangle of another image, as `CutMix
    <https://arxiv.org/abs/1905.04899>`_ does, for each image one of its own.

    Args:
        prob (float): Of an image to be mixed. Defaults to 0.5.
        area (tuple[float, float]): Least and largest share of the image that the
            rectangle has, whose sides are in the image's ratio. Defaults to
            (0.1, 0.5).
    """

    def __init__(self, prob: float = 0.5, area: tuple[float, float] = (0.1, 0.5)):
        super().__init__(prob)
        if not 0 < area[0] <= area[1] <= 1:
            raise ValueError(f'CutMix: area={area}; expected 0 < least <= largest <= 1')
        self.area = area

    def regions(self, classes: Tensor) -> Tensor:
        """Rectangles at random places."""
        count, height, width = classes.shape
        side = torch.empty(count).uniform_(*self.area).sqrt()
        heights = (side * height).round().long().clamp(min=1)
        widths = (side * width).round().long().clamp(min=1)
        tops = (torch.rand(count) * (height - heights + 1)).long()
        lefts = (torch.rand(count) * (width - widths + 1)).long()
        rows, columns = torch.arange(height), torch.arange(width)
        down = (rows >= tops[:, None]) & (rows < (tops + heights)[:, None])
        across = (columns >= lefts[:, None]) & (columns < (lefts + widths)[:, None])
        return (down[:, :, None] & across[:, None]).to(classes.device)


@TASK_UTILS.register_module()
class ClassMix(BatchMix):
    """Paste half of the classes of another image, as `ClassMix
    <https://arxiv.org/abs/2007.07936>`_ does.

    The classes are those of the labels; of an unlabelled image those that the teacher
    finds, for which it runs once more.

    Args:
        prob (float): Of an image to be mixed. Defaults to 0.5.
    """

    needs_classes = True

    def regions(self, classes: Tensor) -> Tensor:
        """The pixels of half of the classes of each image, rounded up."""
        out = torch.zeros_like(classes, dtype=torch.bool)
        for pasted, found in zip(out, classes):
            present = found.unique()
            present = present[(present >= 0) & (present != 255)]
            order = torch.randperm(len(present)).to(present.device)
            for value in present[order[: (len(present) + 1) // 2]]:
                pasted |= found == value
        return out


def _partners(groups: Tensor) -> Tensor:
    """(N,): for each image another one of its group, itself if there is none."""
    partner = torch.arange(len(groups))
    for group in groups.unique():
        members = (groups == group).nonzero()[:, 0]
        members = members[torch.randperm(len(members))]
        # in a ring, so that nobody is his own
        partner[members] = members.roll(1)
    return partner
