"""Labels for an image that has none."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class LoadIgnoredAnnotations(BaseTransform):
    """Give an unlabelled image a label map in which every pixel is ignored.

    It takes the place of ``LoadAnnotations``: no file is read, and the steps behind
    it find the label map that they expect.

    Required keys: img. Added keys: gt_seg_map (H, W), uint8; seg_fields.

    Args:
        ignore_index (int): Value of every pixel. Defaults to 255.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        """Add the label map."""
        height, width = results['img'].shape[:2]
        results['gt_seg_map'] = np.full((height, width), self.ignore_index, np.uint8)
        results['seg_fields'] = [*results.get('seg_fields', ()), 'gt_seg_map']
        return results
