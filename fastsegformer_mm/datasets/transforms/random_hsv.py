"""The official colour augmentation of FastSegFormer."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomHSV(BaseTransform):
    """Multiply hue, saturation and value by random gains.

    The colour augmentation that FastSegFormer (Cai et al., Comput. Electron. Agric.
    217, 2024) is trained with: each gain is 1 + U(-1, 1) * its argument. Hue, in
    OpenCV's steps of 2 degrees, wraps around at 180; saturation and value are
    clipped at 255. Labels are not touched. Random numbers come from NumPy's global
    generator, which MMEngine seeds.

    Required and modified key: ``img``, BGR as MMCV loads it, uint8, of shape
    (height, width, 3).

    Args:
        hue_gain (float): Largest relative change of hue, in [0, 1]. Defaults to 0.1.
        saturation_gain (float): The same of saturation. Defaults to 0.7.
        value_gain (float): The same of value. Defaults to 0.3.

    Raises:
        ValueError: If a gain is not in [0, 1].
        TypeError: If the image is not uint8 with three channels.

    Example:
        >>> import numpy as np
        >>> from fastsegformer_mm.datasets.transforms.random_hsv import RandomHSV
        >>> img = np.full((2, 2, 3), 90, np.uint8)
        >>> RandomHSV(value_gain=0)(dict(img=img))['img'][0, 0].tolist()
        [90, 90, 90]
    """

    def __init__(self, hue_gain: float = 0.1, saturation_gain: float = 0.7,
                 value_gain: float = 0.3) -> None:
        gains = {'hue_gain': hue_gain, 'saturation_gain': saturation_gain,
                 'value_gain': value_gain}
        for name, gain in gains.items():
            if not 0 <= gain <= 1:
                raise ValueError(f'{name}={gain}, expected 0 <= gain <= 1')
        self.hue_gain = hue_gain
        self.saturation_gain = saturation_gain
        self.value_gain = value_gain

    @cache_randomness
    def _draw(self) -> np.ndarray:
        """Factors of hue, saturation and value."""
        limits = (self.hue_gain, self.saturation_gain, self.value_gain)
        return np.random.uniform(-1, 1, 3) * limits + 1

    def transform(self, results: dict) -> dict:
        """Change the colours of ``results['img']``; see the class."""
        img = results['img']
        if img.dtype != np.uint8 or img.ndim != 3 or img.shape[2] != 3:
            raise TypeError(
                f'RandomHSV: image of {img.dtype}, shape {img.shape} '
                f"({results.get('img_path', 'no path')}), expected uint8 BGR: load "
                "it with to_float32=False and color_type='color'")
        factors = self._draw()
        if (factors == 1).all():
            return results  # the way to HSV and back alone changes colours slightly
        levels = np.arange(256)
        tables = [levels * factors[0] % 180,
                  np.clip(levels * factors[1], 0, 255),
                  np.clip(levels * factors[2], 0, 255)]
        channels = cv2.split(cv2.cvtColor(img, cv2.COLOR_BGR2HSV))
        hsv = cv2.merge([cv2.LUT(channel, table.astype(np.uint8))
                         for channel, table in zip(channels, tables)])
        results['img'] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return results

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(hue_gain={self.hue_gain}, '
                f'saturation_gain={self.saturation_gain}, '
                f'value_gain={self.value_gain})')
