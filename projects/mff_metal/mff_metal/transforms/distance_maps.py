"""Signed distance maps of a label, and a cache of them."""

import hashlib
import zlib

import numpy as np


def find_distance_transform():
    """SciPy's exact Euclidean distance transform.

    Raises:
        ImportError: If SciPy is not installed; says how to install it.
    """
    try:
        from scipy.ndimage import distance_transform_edt
    except ImportError as error:
        raise ImportError(
            'SignedDistanceMap computes distances with SciPy, which cannot be '
            f'imported ({error}). Install it: pip install scipy'
        ) from error
    return distance_transform_edt


def signed_distance_maps(
    label: np.ndarray, num_classes: int, truncate: bool = False
) -> np.ndarray:
    """How far each pixel is from the boundary of each class.

    Outside a class, the distance in pixels to its nearest pixel, 1 at least; inside,
    minus the distance to the nearest pixel outside, plus 1, so that the pixels along
    the boundary are 0. A class that has no pixel, or all of them, has no boundary:
    its map is 0.

    Args:
        label (ndarray): (H, W), class indices.
        num_classes (int): C. Labels beyond them are outside every class.
        truncate (bool): Cut the distances off to whole numbers.

    Returns:
        ndarray: (C, H, W), float32; with ``truncate``, int16 (int32 for images whose
        distances leave its range).
    """
    distance = find_distance_transform()
    dtype = np.float32
    if truncate:
        fits = np.hypot(*label.shape) <= np.iinfo(np.int16).max
        dtype = np.int16 if fits else np.int32
    maps = np.zeros((num_classes, *label.shape), dtype)
    for c in range(num_classes):
        inside = label == c
        if inside.any() and not inside.all():
            # each transform is 0 where the other counts
            maps[c] = distance(~inside) - np.maximum(distance(inside) - 1, 0)
    return maps


def checksum(array: np.ndarray) -> int:
    """A number that no reordering of the array changes, but nearly all else does."""
    bits = np.ascontiguousarray(array).view(f'i{array.itemsize}')
    return int(bits.sum(dtype=np.int64))


class DistanceMapCache:
    """Compressed maps in memory, as many as have room.

    A data set is read in an order drawn anew each epoch, so what was read longest
    ago is not needed latest: nothing makes room for newcomers, and each entry that
    found room is used in every epoch. Maps of the same file are told apart by the
    label that they were made from.

    Args:
        limit (int): Bytes of compressed maps that are kept at most.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.used = self.hits = self.misses = 0
        self._entries = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str, label: np.ndarray, compute) -> np.ndarray:
        """The maps of ``label``, the same array values as ``compute(label)`` gives.

        Args:
            key (str): The label's file.
            label (ndarray): (H, W).
            compute (Callable): label -> maps.

        Returns:
            ndarray: An array of the caller's own.
        """
        digest = hashlib.blake2b(np.ascontiguousarray(label)).digest()
        entry = self._entries.get(key)
        if entry is not None:
            known, dtype, shape, data = entry
            if known == digest and shape[1:] == label.shape:
                self.hits += 1
                data = bytearray(zlib.decompress(data))
                return np.frombuffer(data, dtype).reshape(shape)
        self.misses += 1
        maps = compute(label)
        data = zlib.compress(maps.tobytes(), 1)
        used = self.used + len(data) - (len(entry[-1]) if entry else 0)
        if used <= self.limit:
            self._entries[key] = digest, maps.dtype, maps.shape, data
            self.used = used
        return maps
