"""Distance maps of the data samples, handed to the losses that want them."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn import functional as F


def stack_distance_maps(samples: list[SegDataSample]) -> Tensor:
    """The signed distance maps of a batch.

    The data preprocessor pads images and labels of different sizes on the right
    and at the bottom, but knows nothing of these maps: they are padded here, with
    0, which gives no boundary loss.

    Args:
        samples (list[SegDataSample]): Each with ``gt_distance_map``, (C, h, w), and
            ``gt_sem_seg``, (1, H, W).

    Returns:
        Tensor: (N, C, H, W), of the maps' type.

    Raises:
        ValueError: If a sample has no map, or one that is bigger than its label.
    """
    maps = []
    for sample in samples:
        path = sample.metainfo.get('img_path', 'a sample')
        if 'gt_distance_map' not in sample:
            raise ValueError(
                f'{path} has no gt_distance_map, which a loss of the head wants: the '
                "training pipeline needs dict(type='SignedDistanceMap', "
                'num_classes=...) after LoadAnnotations and all resizing, cropping '
                "and padding, and dict(type='PackDistanceMap') in the place of "
                "dict(type='PackSegInputs')"
            )
        data = sample.gt_distance_map.data
        size = sample.gt_sem_seg.data.shape[-2:]
        missing = [whole - part for whole, part in zip(size, data.shape[-2:])]
        if min(missing) < 0:
            raise ValueError(
                f'{path}: a distance map of {tuple(data.shape[-2:])} pixels is bigger '
                f'than the label, {tuple(size)}: images must keep their size after '
                'PackDistanceMap (they may be padded)'
            )
        maps.append(F.pad(data, (0, missing[1], 0, missing[0])))
    return torch.stack(maps)


class BoundarySupervision:
    """Mixin of decode heads whose losses may want signed distance maps.

    Losses of the head with the class attribute ``needs_distance_map = True`` get the
    keyword argument ``distance_map``, (N, C, H, W) at the label's size, beside what
    the head gives to all of them. Without such a loss nothing changes, and no maps
    are needed. It works with every ``BaseDecodeHead``, also one with a
    ``loss_by_feat`` of its own, because the maps join the calls of the losses
    (forward pre-hooks, which are gone afterwards) and no method is written again.

    Raises:
        ValueError: If a sample of the batch has no ``gt_distance_map``; says which
            transforms make it.

    Example:
        It stands before the head that it extends:

        >>> import torch
        >>> from mmengine.structures import PixelData
        >>> from mmseg.models.decode_heads import FCNHead
        >>> from mmseg.registry import MODELS
        >>> from mmseg.structures import SegDataSample
        >>> import mff_metal.losses
        >>> @MODELS.register_module(force=True)
        ... class FCNHeadWithBoundary(BoundarySupervision, FCNHead):
        ...     pass
        >>> head = MODELS.build(dict(
        ...     type='FCNHeadWithBoundary', in_channels=8, channels=8, num_classes=4,
        ...     num_convs=0, concat_input=False, loss_decode=[
        ...         dict(type='SummedCrossEntropyLoss'),
        ...         dict(type='MFFDiceLoss', loss_weight=0.5),
        ...         dict(type='MFFBoundaryLoss', loss_weight=1e-4)]))
        >>> sample = SegDataSample(
        ...     gt_sem_seg=PixelData(data=torch.zeros(1, 16, 16).long()),
        ...     gt_distance_map=PixelData(data=torch.zeros(4, 16, 16)))
        >>> losses = head.loss((torch.rand(1, 8, 16, 16),), [sample], None)
        >>> sorted(losses)
        ['acc_seg', 'loss_boundary', 'loss_ce', 'loss_dice']

        The training pipeline makes and packs the maps::

            dict(type='SignedDistanceMap', num_classes=4, truncate=True),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDistanceMap'),
    """

    def loss_by_feat(
        self, seg_logits: Tensor, batch_data_samples: list[SegDataSample]
    ) -> dict:
        """The head's losses; those that want distance maps get them.

        Args:
            seg_logits (Tensor): What the head's ``forward`` gives, (N, C, h, w).
            batch_data_samples (list[SegDataSample]): With ``gt_sem_seg``, and
                ``gt_distance_map`` if a loss wants it.

        Returns:
            dict[str, Tensor]: The losses under their names, and ``acc_seg``.
        """
        wanting = [
            m for m in self.modules() if getattr(m, 'needs_distance_map', False)
        ]
        if not wanting:
            return super().loss_by_feat(seg_logits, batch_data_samples)
        maps = stack_distance_maps(batch_data_samples)

        def hand_over(module, args, kwargs):
            return args, {**kwargs, 'distance_map': maps}

        handles = [
            m.register_forward_pre_hook(hand_over, with_kwargs=True) for m in wanting
        ]
        try:
            return super().loss_by_feat(seg_logits, batch_data_samples)
        finally:
            for handle in handles:
                handle.remove()
