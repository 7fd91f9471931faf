"""Labels for an image that has none."""

import numpy as np
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadIgnoredAnnotations(LoadAnnotations):
    """Give an image a label map in which every pixel is ignored.

    :class:`UnlabelledDataset` puts it in the place of ``LoadAnnotations``: no file is
    read, and transforms of image and label find both.

    Required keys: ``img``. Added keys: ``gt_seg_map`` (H, W), uint8, of the size that
    the image has here; ``seg_fields``.

    Args:
        ignore_index (int): Value of every pixel. Defaults to 255.

    Example:
        >>> results = LoadIgnoredAnnotations()(dict(img=np.zeros((1, 2, 3), np.uint8)))
        >>> results['gt_seg_map'].tolist(), results['seg_fields']
        ([[255, 255]], ['gt_seg_map'])
    """

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def _load_seg_map(self, results: dict) -> None:
        results['gt_seg_map'] = np.full(
            results['img'].shape[:2], self.ignore_index, np.uint8)
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(ignore_index={self.ignore_index})'
