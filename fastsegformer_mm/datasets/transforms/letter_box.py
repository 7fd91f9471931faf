"""Fit an image into a fixed size without changing its aspect."""

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

# PackSegInputs' own meta keys, and what LetterBox needs to be undone. A pipeline with
# LetterBox must pack 'padding_size': without it the prediction keeps the borders.
LETTER_BOX_META_KEYS = ('img_path', 'seg_map_path', 'ori_shape', 'img_shape',
                        'pad_shape', 'scale_factor', 'flip', 'flip_direction',
                        'reduce_zero_label', 'padding_size')


def check_size(size) -> tuple[int, int]:
    """``size`` as (height, width), or a ValueError."""
    if (not isinstance(size, (tuple, list)) or len(size) != 2
            or not all(isinstance(s, int) and s > 0 for s in size)):
        raise ValueError(f'size={size!r}, expected (height, width) in pixels')
    return tuple(size)


def fitting_size(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """The largest (height, width) of the aspect of ``shape`` inside ``size``."""
    # the scale, as a fraction: its float would take some exact halves down
    if size[0] * shape[1] <= size[1] * shape[0]:
        num, den = size[0], shape[0]
    else:
        num, den = size[1], shape[1]
    # Rounded, not cut off as in the official code.
    return tuple(min(max((2 * side * num + den) // (2 * den), 1), limit)
                 for side, limit in zip(shape, size))


def paste(img: np.ndarray, top: int, left: int, size: tuple[int, int],
          fill: int) -> np.ndarray:
    """``img`` on a canvas of ``size`` filled with ``fill``.

    What lies outside the canvas is cut off; ``top`` and ``left`` may be negative.
    """
    canvas = np.full((*size, *img.shape[2:]), fill, dtype=img.dtype)
    height, width = img.shape[:2]
    y0, y1 = max(top, 0), min(top + height, size[0])
    x0, x1 = max(left, 0), min(left + width, size[1])
    if y0 < y1 and x0 < x1:
        canvas[y0:y1, x0:x1] = img[y0 - top:y1 - top, x0 - left:x1 - left]
    return canvas


def place(results: dict, new_size: tuple[int, int], top: int, left: int,
          size: tuple[int, int], pad_val: int, seg_pad_val: int, interpolation: str,
          backend: str) -> dict:
    """Resize image and labels to ``new_size`` and paste both on a canvas.

    Labels take the nearest pixel as Pillow does, which samples at pixel centres like
    every interpolation of the image; OpenCV's nearest samples at corners and would
    shift labels by up to half a pixel.
    """
    height, width = results['img'].shape[:2]
    scale = new_size[::-1]
    for key in results.get('seg_fields') or ['gt_seg_map']:
        if results.get(key) is not None:
            label = mmcv.imresize(results[key], scale, interpolation='nearest',
                                  backend='pillow')
            results[key] = paste(label, top, left, size, seg_pad_val)
    img = mmcv.imresize(results['img'], scale, interpolation=interpolation,
                        backend=backend)
    results['img'] = paste(img, top, left, size, pad_val)
    results['scale'] = scale
    results['scale_factor'] = (scale[0] / width, scale[1] / height)
    results['img_shape'] = results['pad_shape'] = size
    return results


@TRANSFORMS.register_module()
class LetterBox(BaseTransform):
    """Fit the image into ``size``, keep its aspect, centre it on a grey canvas.

    The way FastSegFormer (Cai et al., Comput. Electron. Agric. 217, 2024) is
    evaluated. ``padding_size`` tells MMSegmentation's segmentors which borders to
    cut off the logits before they are resized to the image's own size: predictions
    come out in the coordinates of the original image. For this

    * ``PackSegInputs`` must pack it: ``meta_keys=LETTER_BOX_META_KEYS``;
    * flips go before ``LetterBox``, also in test-time augmentation, because
      MMSegmentation cuts the borders off before it flips back;
    * labels that are compared with predictions are loaded after ``LetterBox``, so
      that they keep their own size (MMSegmentation's usual test pipeline);
    * the data preprocessor has no ``test_cfg``, whose own padding would replace
      ``padding_size``.

    Labels loaded before it are letterboxed with the image, by nearest neighbour.

    Required keys: ``img``, and labels in ``seg_fields``, if any. Modified or added:
    ``img``, labels, ``img_shape`` and ``pad_shape`` (height, width), ``scale``
    (width, height of the resized image), ``scale_factor`` (of width, height),
    ``keep_ratio``, ``padding_size`` [left, right, top, bottom].

    Args:
        size (tuple[int]): (height, width) of the canvas in pixels. MMSegmentation's
            own transforms take (width, height).
        pad_val (int): Grey value of the canvas, 0 to 255. Defaults to 128.
        seg_pad_val (int): Label of the canvas. Defaults to 255, which losses and
            metrics ignore; the official training code has 0, background.
        interpolation (str): Of the image; 'nearest', 'bilinear', 'bicubic', 'area'
            or 'lanczos' with OpenCV; with Pillow, 'box' and 'hamming' instead of
            'area'. Defaults to 'bicubic'.
        backend (str): 'cv2' or 'pillow'. Pillow widens its filter when it shrinks an
            image, so that fine scars are averaged and not skipped, and takes uint8
            only; OpenCV is faster. Defaults to 'pillow', as the official code and as
            ``RandomScalePaste`` in training.

    Raises:
        ValueError: If ``size`` is not two positive integers.
        TypeError: In ``transform``, if Pillow shall resize an image that is not uint8.

    Example:
        >>> import numpy as np
        >>> from fastsegformer_mm.datasets.transforms.letter_box import LetterBox
        >>> results = LetterBox(size=(224, 224))(
        ...     dict(img=np.zeros((100, 200, 3), np.uint8)))
        >>> results['img'].shape, results['padding_size']
        ((224, 224, 3), [0, 0, 56, 56])
    """

    def __init__(self, size: tuple[int, int], pad_val: int = 128,
                 seg_pad_val: int = 255, interpolation: str = 'bicubic',
                 backend: str = 'pillow') -> None:
        self.size = check_size(size)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val
        self.interpolation = interpolation
        self.backend = backend

    def transform(self, results: dict) -> dict:
        """Letterbox ``results``; see the class."""
        if self.backend == 'pillow' and results['img'].dtype != np.uint8:
            raise TypeError(
                f"LetterBox: image of {results['img'].dtype} "
                f"({results.get('img_path', 'no path')}), expected uint8: load it "
                "with to_float32=False, or set backend='cv2'")
        new_size = fitting_size(results['img'].shape[:2], self.size)
        spare_h, spare_w = (s - n for s, n in zip(self.size, new_size))
        top, left = spare_h // 2, spare_w // 2
        place(results, new_size, top, left, self.size, self.pad_val,
              self.seg_pad_val, self.interpolation, self.backend)
        results['keep_ratio'] = True
        results['padding_size'] = [left, spare_w - left, top, spare_h - top]
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(size={self.size}, '
                f'pad_val={self.pad_val}, seg_pad_val={self.seg_pad_val}, '
                f"interpolation='{self.interpolation}', backend='{self.backend}')")
