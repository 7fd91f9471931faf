"""Signed distances to the boundaries of a label's classes."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from .distance_maps import (
    DistanceMapCache,
    checksum,
    find_distance_transform,
    signed_distance_maps,
)


@TRANSFORMS.register_module()
class SignedDistanceMap(BaseTransform):
    """Compute the signed distance maps of a label, for ``MFFBoundaryLoss``.

    Its place in the pipeline is after everything that resizes, crops, pastes or pads
    and before flips and turns by right angles (``RandomFlip``; ``RandomRotFlip``
    with ``rotate_prob=0``). These turn the maps with the label, because the maps
    join ``seg_fields``, and the result is exactly that of the turned label, while
    the cache holds one entry a file. Whatever else changes the maps afterwards makes
    ``PackDistanceMap`` raise an error.

    The map of a class is in pixels, positive outside and 0 or negative inside
    (Kervadec et al., MIDL 2019): 1 for the first pixel outside, 0 for the first one
    inside. A class without pixels, or with all of them, has a map of 0. Ignored
    pixels are outside every class.

    Required keys: ``gt_seg_map`` (H, W); ``seg_map_path`` for the cache. Added:
    ``gt_distance_map`` (H, W, C), float32, or int16 with ``truncate``;
    ``distance_map_checksum``. Modified: ``seg_fields``.

    Args:
        num_classes (int): Classes of the data set, C, the background included.
        truncate (bool): Cut distances off to whole numbers, as the official code
            does by putting them into an array of integers; halves the memory too.
            Defaults to False.
        ignore_index (int): The one label beyond the classes that may occur.
            Defaults to 255.
        cache_mb (float): Memory for compressed maps in MiB, for each worker of a
            data loader; 0 for none. Defaults to 128. NEU-Seg's 3,630 training
            labels take about 80 with ``truncate``, 310 without. It lasts over
            epochs with ``persistent_workers=True``. Where random crops precede, no
            label comes twice: set 0.

    Raises:
        ValueError: An argument is out of its range; in ``transform``, if there is no
            label, or one with unknown values.
        ImportError: If SciPy is not installed.

    Example:
        >>> import numpy as np
        >>> label = np.array([[0, 0, 1, 1, 1]], np.uint8)
        >>> results = SignedDistanceMap(num_classes=2)(dict(gt_seg_map=label))
        >>> results['gt_distance_map'][..., 1]
        array([[ 2.,  1.,  0., -1., -2.]], dtype=float32)
        >>> results['seg_fields']
        ['gt_distance_map']
    """

    def __init__(
        self,
        num_classes: int,
        truncate: bool = False,
        ignore_index: int = 255,
        cache_mb: float = 128,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f'num_classes={num_classes}, expected 2 or more')
        if cache_mb < 0:
            raise ValueError(f'cache_mb={cache_mb}, expected 0 (no cache) or more')
        find_distance_transform()  # says now, not in a worker, that SciPy is missing
        self.num_classes = num_classes
        self.truncate = truncate
        self.ignore_index = ignore_index
        self.cache_mb = cache_mb
        self.cache = DistanceMapCache(int(cache_mb * 2**20))

    def compute(self, label: np.ndarray) -> np.ndarray:
        """(H, W) -> (C, H, W)."""
        return signed_distance_maps(label, self.num_classes, self.truncate)

    def transform(self, results: dict) -> dict:
        """Add the maps to ``results``; see the class."""
        path = results.get('seg_map_path')
        label = results.get('gt_seg_map')
        if label is None or label.ndim != 2:
            raise ValueError(
                f'SignedDistanceMap: gt_seg_map of {path or "a sample"} is '
                f'{"missing" if label is None else f"of shape {label.shape}"}, '
                'expected a label of shape (H, W): LoadAnnotations must come before'
            )
        unknown = (label < 0) | (label >= self.num_classes)
        unknown &= label != self.ignore_index
        if unknown.any():
            raise ValueError(
                f'SignedDistanceMap: {path or "a label"} has the value(s) '
                f'{np.unique(label[unknown]).tolist()}, expected 0 to '
                f'{self.num_classes - 1} or {self.ignore_index}, which is ignored: '
                'correct num_classes, or the label'
            )
        if path and self.cache_mb:
            maps = self.cache.get(path, label, self.compute)
        else:
            maps = self.compute(label)
        results['distance_map_checksum'] = checksum(maps)
        # the layout of an image, which flips and turns expect of a label
        results['gt_distance_map'] = maps.transpose(1, 2, 0)
        fields = results.setdefault('seg_fields', [])
        if 'gt_distance_map' not in fields:
            fields.append('gt_distance_map')
        return results

    def __repr__(self) -> str:
        return (
            f'{self.__class__.__name__}(num_classes={self.num_classes}, '
            f'truncate={self.truncate}, ignore_index={self.ignore_index}, '
            f'cache_mb={self.cache_mb})'
        )
