"""Half of the classes of another image."""

import torch
from mmrazor.registry import MODELS
from torch import Tensor

from .batch_mix import BatchMix


@MODELS.register_module()
class ClassMix(BatchMix):
    """Paste half of the classes of another image of the batch into each.

    `Olsson et al., WACV 2021 <https://arxiv.org/abs/2007.07936>`_: of the n classes
    that an image shows, n // 2 are chosen at random, and all of their pixels are
    pasted at their place. The classes are those of the label, where ignored pixels
    belong to none; of an unlabelled image they are those that the teacher finds, for
    which it runs once more on these images. Without a teacher nothing is pasted
    from them.

    Args:
        ignore_index (int): Label of ignored pixels. Defaults to 255.
        prob (float), across (bool): See :class:`BatchMix`.

    Raises:
        ValueError: An argument is out of its range.

    Example:
        >>> model = dict(batch_augment=dict(type='ClassMix', prob=1.0))
    """

    def __init__(
        self, ignore_index: int = 255, prob: float = 0.5, across: bool = False
    ) -> None:
        super().__init__(prob, across)
        self.ignore_index = ignore_index

    def regions(self, inputs, data_samples, partner, predict) -> Tensor:
        """(N, H, W): the chosen classes of the partner; see :class:`BatchMix`."""
        classes = torch.cat([s.gt_sem_seg.data for s in data_samples])
        unlabelled = [
            k
            for k, s in enumerate(data_samples)
            if not s.metainfo.get('labelled', True)
        ]
        if unlabelled and predict is not None:
            samples = [data_samples[k] for k in unlabelled]
            classes[unlabelled] = predict(inputs[unlabelled], samples).to(classes)
        regions = torch.zeros_like(classes, dtype=torch.bool)
        for region, other in zip(regions, partner.tolist()):
            found = classes[other].unique()
            found = found[found != self.ignore_index]
            chosen = torch.randperm(len(found))[: len(found) // 2]
            region |= torch.isin(classes[other], found[chosen.to(found.device)])
        return regions
