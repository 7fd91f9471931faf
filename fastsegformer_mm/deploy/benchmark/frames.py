"""The frames that are measured on."""

from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmengine.utils import scandir

from fastsegformer_mm.datasets.synthetic import make_sample

from ..errors import DeployError

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')


def read_frames(folder, size: tuple[int, int], count: int) -> np.ndarray:
    """Images of a folder and those below it, at one size.

    Args:
        folder (str | Path): Where they are. They are taken evenly over their names.
        size (tuple[int]): Height and width in pixels that they are resized to.
        count (int): How many at most.

    Returns:
        np.ndarray: uint8 BGR of (N, height, width, 3).

    Raises:
        DeployError: There is none, or one cannot be read.
    """
    folder = Path(folder)
    names = []
    if folder.is_dir():
        names = sorted(scandir(folder, SUFFIXES, recursive=True, case_sensitive=False))
    if not names:
        raise DeployError(
            f'--images {folder}: expected a folder of images ({" ".join(SUFFIXES)})'
        )
    chosen = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    frames = []
    for i in chosen:
        image = mmcv.imread(folder / names[i])
        if image is None:
            raise DeployError(f'{folder / names[i]}: cannot be read as an image')
        frames.append(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA))
    return np.stack(frames)


def synthetic_frames(size: tuple[int, int], count: int) -> np.ndarray:
    """Synthetic navel oranges: the same for the same numbers.

    Args:
        size (tuple[int]): Height and width in pixels.
        count (int): How many.

    Returns:
        np.ndarray: uint8 BGR of (N, height, width, 3).
    """
    frames = []
    for i in range(count):
        image, _ = make_sample(seed=0, index=i, size=max(*size, 64))
        frames.append(cv2.resize(image[..., ::-1], size[::-1]))
    return np.stack(frames)
