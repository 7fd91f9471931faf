"""The official geometric augmentation of FastSegFormer."""

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS

from .letter_box import check_size, fitting_size, place


def loaded_zero(results: dict) -> int:
    """What ``LoadAnnotations`` has made of the value 0 in the label file."""
    value = 255 if results.get('reduce_zero_label') else 0
    return (results.get('label_map') or {}).get(value, value)


@TRANSFORMS.register_module()
class RandomScalePaste(BaseTransform):
    """Jitter aspect and scale, paste at a random place on a grey canvas.

    The augmentation that FastSegFormer (Cai et al., Comput. Electron. Agric. 217,
    2024) is trained with. With width w / height h of the image, H x W of the canvas
    and j = ``aspect_jitter``::

        aspect = w / h * U(1 - j, 1 + j) / U(1 - j, 1 + j)
        scale  = U(*scale_range)
        aspect < 1:  new height = scale * H, new width  = new height * aspect
        otherwise:   new width  = scale * W, new height = new width / aspect
        left = U(0, W - new width), top = U(0, H - new height)

    An image larger than the canvas gets a place with negative ``left`` or ``top``:
    a random crop. The image is resized with Pillow's bicubic filter, as in the
    official code, the label by nearest neighbour, both sampled at pixel centres.

    The official order is this, a flip with probability 0.5, then HSV gains. The
    canvas has no preferred side, so that ``RandomFlip`` before or after is the same.
    Random numbers come from NumPy's global generator, which MMEngine seeds.

    Required keys: ``img`` (uint8), and labels in ``seg_fields``, if any. Modified or
    added: ``img``, labels, ``img_shape`` and ``pad_shape`` (height, width),
    ``scale`` (width, height of the resized image), ``scale_factor`` (of width,
    height), ``keep_ratio``.

    Args:
        size (tuple[int]): (height, width) of the canvas in pixels. MMSegmentation's
            own transforms take (width, height).
        aspect_jitter (float): j above, in [0, 1). Defaults to 0.3.
        scale_range (tuple[float]): Smallest and largest scale, relative to the
            canvas. Defaults to (0.25, 2.0).
        pad_val (int): Grey value of the canvas, 0 to 255. Defaults to 128.
        seg_pad_val (int, optional): Label of the canvas, as the losses see it.
            Defaults to None: what 0 in a label file, in the official code the
            background, is loaded as; so 255, which losses ignore, with the data set's
            ``reduce_zero_label``, and what ``label_map`` makes of it.
        prob (float): Probability of the jitter. Otherwise the image is fitted into
            the middle of the canvas without it. Defaults to 1.0.

    Raises:
        ValueError: If an argument is out of its range.
        TypeError: If the image is not uint8.

    Example:
        >>> import numpy as np
        >>> from fastsegformer_mm.datasets.transforms.random_scale_paste import (
        ...     RandomScalePaste)
        >>> results = RandomScalePaste(size=(224, 320))(
        ...     dict(img=np.zeros((100, 200, 3), np.uint8),
        ...          gt_seg_map=np.zeros((100, 200), np.uint8)))
        >>> results['img'].shape, results['gt_seg_map'].shape
        ((224, 320, 3), (224, 320))
    """

    def __init__(self, size: tuple[int, int], aspect_jitter: float = 0.3,
                 scale_range: tuple[float, float] = (0.25, 2.0), pad_val: int = 128,
                 seg_pad_val: int | None = None, prob: float = 1.0) -> None:
        self.size = check_size(size)
        if not 0 <= aspect_jitter < 1:
            raise ValueError(f'aspect_jitter={aspect_jitter}, expected 0 <= j < 1')
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f'scale_range={scale_range}, expected 0 < low <= high')
        if not 0 <= prob <= 1:
            raise ValueError(f'prob={prob}, expected 0 <= p <= 1')
        self.aspect_jitter = aspect_jitter
        self.scale_range = tuple(scale_range)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.prob = prob

    @cache_randomness
    def _draw(self, shape: tuple[int, int]) -> tuple:
        """New (height, width), top and left for an image of ``shape``."""
        height, width = self.size
        if np.random.uniform() >= self.prob:
            new_h, new_w = fitting_size(shape, self.size)
            return (new_h, new_w), (height - new_h) // 2, (width - new_w) // 2
        jitter = np.random.uniform(1 - self.aspect_jitter, 1 + self.aspect_jitter, 2)
        aspect = shape[1] / shape[0] * jitter[0] / jitter[1]
        scale = np.random.uniform(*self.scale_range)
        if aspect < 1:
            new_h = int(scale * height)
            new_w = int(new_h * aspect)
        else:
            new_w = int(scale * width)
            new_h = int(new_w / aspect)
        new_h, new_w = max(new_h, 1), max(new_w, 1)
        left = int(np.random.uniform(0, width - new_w))
        top = int(np.random.uniform(0, height - new_h))
        return (new_h, new_w), top, left

    def transform(self, results: dict) -> dict:
        """Jitter and paste ``results``; see the class."""
        if results['img'].dtype != np.uint8:
            raise TypeError(
                f"RandomScalePaste: image of {results['img'].dtype} "
                f"({results.get('img_path', 'no path')}), expected uint8: load it "
                'with to_float32=False')
        new_size, top, left = self._draw(results['img'].shape[:2])
        seg_pad_val = self.seg_pad_val
        if seg_pad_val is None:
            seg_pad_val = loaded_zero(results)
        place(results, new_size, top, left, self.size, self.pad_val,
              seg_pad_val, interpolation='bicubic', backend='pillow')
        results['keep_ratio'] = False
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(size={self.size}, '
                f'aspect_jitter={self.aspect_jitter}, '
                f'scale_range={self.scale_range}, pad_val={self.pad_val}, '
                f'seg_pad_val={self.seg_pad_val}, prob={self.prob})')
