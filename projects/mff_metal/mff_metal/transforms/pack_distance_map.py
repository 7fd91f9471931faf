"""Inputs of a segmentor with the label's signed distance maps."""

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from .distance_maps import checksum


def belongs(maps: np.ndarray, label: np.ndarray, expected_sum: int) -> bool:
    """Whether maps are still those of a label, both perhaps flipped or turned.

    Flips and turns by right angles reorder the pixels of both and change nothing
    else. So the maps' values are the same in another order, and the pixels that are
    not outside a class are those of the class.
    """
    if checksum(maps) != expected_sum:
        return False
    for c in range(maps.shape[2]):
        inside = label == c
        boundary = inside.any() and not inside.all()
        expected = inside if boundary else np.ones_like(inside)
        if not np.array_equal(maps[..., c] <= 0, expected):
            return False
    return True


@TRANSFORMS.register_module()
class PackDistanceMap(PackSegInputs):
    """``PackSegInputs`` that packs the maps of ``SignedDistanceMap`` too.

    It takes the place of ``PackSegInputs`` in a training pipeline, has the same
    arguments, and adds ``gt_distance_map`` (``PixelData``, (C, H, W), of the maps'
    type) to the data sample. It checks that the maps still belong to the label: what
    resizes, crops, pastes, pads or turns by other angles between
    ``SignedDistanceMap`` and this would leave wrong distances.

    Required keys: those of ``PackSegInputs``, ``gt_seg_map``, ``gt_distance_map``
    (H, W, C), ``distance_map_checksum``.

    Raises:
        ValueError: In ``transform``, if there are no maps or they do not belong to
            the label.

    Example:
        >>> import numpy as np
        >>> from mff_metal.transforms import SignedDistanceMap
        >>> results = dict(img=np.zeros((4, 6, 3), np.uint8),
        ...                gt_seg_map=np.eye(4, 6, dtype=np.uint8))
        >>> results = SignedDistanceMap(num_classes=2, truncate=True)(results)
        >>> packed = PackDistanceMap()(results)
        >>> packed['data_samples'].gt_distance_map.data.shape
        torch.Size([2, 4, 6])
    """

    def transform(self, results: dict) -> dict:
        """Pack ``results``; see the class.

        Returns:
            dict: ``inputs`` and ``data_samples`` as of ``PackSegInputs``.
        """
        maps = results.get('gt_distance_map')
        path = results.get('seg_map_path', 'a sample')
        if maps is None:
            raise ValueError(
                f'PackDistanceMap: {path} has no gt_distance_map: put '
                "dict(type='SignedDistanceMap', num_classes=...) before it, or pack "
                "by dict(type='PackSegInputs')"
            )
        label = results['gt_seg_map']
        if not belongs(maps, label, results['distance_map_checksum']):
            raise ValueError(
                f'PackDistanceMap: the distance maps of {path}, {maps.shape[:2]} '
                f'pixels, do not belong to its label, {label.shape}, any more. After '
                'SignedDistanceMap only flips and turns by right angles may come '
                '(RandomFlip without swap_seg_labels, RandomRotFlip with '
                'rotate_prob=0): put it after what resizes, crops, pastes, pads or '
                'changes labels'
            )
        packed = super().transform(results)
        data = torch.from_numpy(np.ascontiguousarray(maps.transpose(2, 0, 1)))
        packed['data_samples'].set_data(dict(gt_distance_map=PixelData(data=data)))
        return packed
