"""Where in a frame the fruit or part is."""

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DeployError
from .input_error import InputError


@dataclass(frozen=True)
class PartMasks:
    """Masks of the fruit or part by the names of the frames.

    Args:
        path (str | Path): A folder with NAME.png for each frame, in the same
            subfolders as the frames; for a video one for all its frames. Or one
            file for every frame, where camera and part stand still. What is not 0
            (or not black, in a colour image) is the part.

    Raises:
        DeployError: There is no such file or folder.
    """

    path: Path

    def __post_init__(self):
        if not Path(self.path).exists():
            raise DeployError(
                f'{self.path}: no such file or folder; expected masks of the part, '
                'NAME.png for every image NAME, or one mask for all'
            )

    def __call__(
        self, name: str, shape: tuple[int, int], origin: str | None = None
    ) -> np.ndarray | None:
        """The mask of a frame, uint8 of (H, W), or None where there is none.

        Args:
            name (str): The frame's name, with subfolders, without suffix.
            shape (tuple[int]): Its height and width.
            origin (str, optional): What errors call the frame. Defaults to None,
                ``name``.

        Raises:
            InputError: It cannot be read, or has another size.
        """
        path = Path(self.path)
        if path.is_dir():
            # not with_suffix: a name may have a dot
            path = path / f'{name}.png'
            # not is_file, which raises where the name is too long
            if not os.path.isfile(path):
                return None
        origin = origin or name
        mask = _read(path, origin)
        if mask.shape != tuple(shape):
            height, width = mask.shape
            raise InputError(
                origin,
                f'its part mask {path} is {width}x{height} pixels; expected those of '
                f'the frame, {shape[1]}x{shape[0]}',
            )
        return mask


def _read(path: Path, origin: str) -> np.ndarray:
    try:
        # the time tells a mask that was drawn anew, as while a camera is read
        return _decode(path, path.stat().st_mtime_ns)
    except Exception as error:  # whatever Pillow raises
        raise InputError(
            origin, f'its part mask {path} cannot be read: {error}'
        ) from error


@functools.lru_cache(maxsize=4)
def _decode(path: Path, changed: int) -> np.ndarray:
    with Image.open(path) as image:
        # indices of a palette stay what they are
        mask = np.asarray(image)
    if mask.ndim == 3:
        # grey with alpha has two channels, colours with alpha four
        mask = mask[..., : 3 if mask.shape[2] > 2 else 1].any(2)
    return (mask != 0).astype(np.uint8)
