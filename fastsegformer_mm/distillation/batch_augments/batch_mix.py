"""What all ways of mixing the images of a batch have in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from fastsegformer_mm.distillation.errors import DistillationError

Predict = Callable[[Tensor, list[SegDataSample]], Tensor]


class BatchMix(ABC):
    """Replace pixels of an image by those of another one of its batch.

    All maps of a sample (``gt_sem_seg``, ``gt_edge_map``, ``gt_depth_map``) are mixed
    like the image. Padding is neither pasted nor pasted over, so that the sample's
    ``metainfo`` stays right. Random numbers are torch's own, on the CPU.

    Args:
        prob (float): That an image is changed. Defaults to 0.5.
        across (bool): Whether a labelled image may get a part of an unlabelled one,
            whose pixels are then ignored, and the other way round. Defaults to False:
            labelled images are mixed among themselves and stay labelled everywhere,
            and so are unlabelled ones.

    Raises:
        ValueError: ``prob`` is not between 0 and 1.
    """

    def __init__(self, prob: float = 0.5, across: bool = False) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'{type(self).__name__}: prob={prob}, expected 0 to 1')
        self.prob = prob
        self.across = across

    def __call__(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        predict: Predict | None = None,
    ) -> tuple[Tensor, list[SegDataSample]]:
        """Mix a batch; what is given stays as it is.

        Args:
            inputs (Tensor): (N, C, H, W).
            data_samples (list[SegDataSample]): N samples with maps of (H, W). Those
                with ``labelled=False`` in their ``metainfo`` count as unlabelled.
            predict (Callable, optional): Gives the classes (M, H, W) of M images and
                their samples, for :class:`ClassMix`. Defaults to None, they are
                not known.

        Returns:
            tuple[Tensor, list[SegDataSample]]: The mixed images and new samples.

        Raises:
            DistillationError: A map has not the size of the images.
        """
        maps = [_maps(sample, inputs.shape[2:]) for sample in data_samples]
        labelled = [s.metainfo.get('labelled', True) for s in data_samples]
        partner = self._partners(labelled)
        changed = torch.rand(len(inputs)) < self.prob
        pasted = self.regions(inputs, data_samples, partner, predict)
        pasted = pasted.to(inputs.device) & changed.to(inputs.device).view(-1, 1, 1)
        content = _content(inputs, data_samples)
        pasted &= content & content[partner]
        mixed = torch.where(pasted[:, None], inputs[partner], inputs)
        samples = []
        for k, other in enumerate(partner.tolist()):
            sample = data_samples[k].new()
            for name in maps[k].keys() & maps[other].keys():
                values = {
                    key: torch.where(pasted[k], maps[other][name].get(key), value)
                    for key, value in maps[k][name].items()
                }
                sample.set_data({name: PixelData(**values)})
            samples.append(sample)
        return mixed, samples

    @abstractmethod
    def regions(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        partner: Tensor,
        predict: Predict | None,
    ) -> Tensor:
        """Where each image gets the pixels of its partner.

        Args:
            inputs, data_samples, predict: See :meth:`__call__`.
            partner (Tensor): (N,), the index of the other image.

        Returns:
            Tensor: (N, H, W), bool.
        """

    def _partners(self, labelled: list[bool]) -> Tensor:
        """For each image another one of its group; itself where it is alone."""
        partner = torch.arange(len(labelled))
        groups = torch.tensor(labelled)
        if self.across:
            groups = torch.ones_like(groups)
        for group in (True, False):
            members = torch.nonzero(groups == group)[:, 0]
            # in a ring of random order, each image is once a partner
            members = members[torch.randperm(len(members))]
            partner[members] = members.roll(1)
        return partner


def _content(inputs: Tensor, data_samples: list[SegDataSample]) -> Tensor:
    """(N, H, W): True where an image is, False in its padding."""
    count, _, height, width = inputs.shape
    content = inputs.new_ones((count, height, width), dtype=torch.bool)
    for mask, sample in zip(content, data_samples):
        left, right, top, bottom = sample.metainfo.get('padding_size', (0,) * 4)
        mask[:top] = mask[height - bottom :] = False
        mask[:, :left] = mask[:, width - right :] = False
    return content


def _maps(sample: SegDataSample, size: torch.Size) -> dict[str, PixelData]:
    """What a sample has of each pixel of its image."""
    found = {k: v for k, v in sample.items() if isinstance(v, PixelData)}
    for name, pixels in found.items():
        if pixels.shape != tuple(size):
            path = sample.metainfo.get('img_path', 'a sample')
            raise DistillationError(
                f'batch_augment: {name} of {path} has {pixels.shape[0]}x'
                f'{pixels.shape[1]} pixels, and the images of the batch {size[0]}x'
                f'{size[1]}; expected one size: let the training pipeline make images '
                'of one size'
            )
    return found
