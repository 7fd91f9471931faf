"""Samples and whole data sets of synthetic navel oranges."""
import functools
import json
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from fastsegformer_mm.version import __version__

from .defects import add_defects
from .marks import SUNBURN, ULCER, WIND_SCARRING
from .orange import make_peel
from .scene import cast_shadow, fruit_outline, make_background, photograph, render

CLASSES = ('background', 'sunburn', 'ulcer', 'wind scarring')
SPLITS = ('train', 'val', 'test')
RECORD = 'synthetic_oranges.json'

# which defects appear together, and how often of 20 fruits
COMBINATIONS = {
    (): 2,
    (SUNBURN, ): 3,
    (ULCER, ): 3,
    (WIND_SCARRING, ): 3,
    (SUNBURN, ULCER): 2,
    (ULCER, WIND_SCARRING): 3,
    (SUNBURN, WIND_SCARRING): 2,
    (SUNBURN, ULCER, WIND_SCARRING): 2,
}
MIN_SIZE = 64


def make_sample(seed, index=0, size=512, classes=(SUNBURN, ULCER, WIND_SCARRING)):
    """One photograph-like orange with its label map.

    Args:
        seed (int): Seed of the set, at least 0.
        index (int): Number of the sample in the set. Default: 0.
        size (int): Side of the square image in pixels, at least 64. Default: 512.
        classes (Iterable[int]): Defects on the fruit: 1 sunburn, 2 ulcer, 3 wind
            scarring; empty for a sound fruit. Default: all three.

    The same seed, index and size give the same fruit in the same scene, whatever
    the defects.

    Returns:
        tuple[np.ndarray, np.ndarray]: uint8 RGB image (size, size, 3) and uint8
        label map (size, size) with values 0 to 3.

    Raises:
        ValueError: If the size is below 64 or a class is unknown.

    Example:
        >>> image, label = make_sample(seed=0, size=96, classes=[2])
        >>> image.shape, sorted(set(label.ravel().tolist()))
        ((96, 96, 3), [0, 2])
    """
    if size < MIN_SIZE:
        raise ValueError(f'size is {size} pixels: expected at least {MIN_SIZE}')
    # a stream for each part: the same scene whatever the defects on the fruit
    shape, skin, harm, place, light, camera = (
        np.random.default_rng([seed, index, part]) for part in range(6))
    outline = fruit_outline(shape, size)
    peel = make_peel(skin, outline['radius'])
    add_defects(harm, peel, classes)
    background = cast_shadow(place, make_background(place, size), outline)
    image, label = render(light, peel, outline, background)
    return photograph(camera, image), label


def split_sizes(num, ratios):
    """Share ``num`` samples out by ``ratios``.

    Raises:
        ValueError: If the ratios are not three numbers of 0 or more with a
            positive sum.

    Example:
        >>> split_sizes(100, (6, 2, 2))
        [60, 20, 20]
    """
    ratios = [float(r) for r in ratios]
    if len(ratios) != len(SPLITS) or min(ratios) < 0 or sum(ratios) <= 0:
        raise ValueError(
            f'ratios are {ratios}: expected three numbers of 0 or more for train, '
            'val and test, for example 6 2 2')
    ends = np.rint(np.cumsum(ratios) / sum(ratios) * num).astype(int)
    return np.diff(ends, prepend=0).tolist()


def plan_set(num, ratios, seed):
    """Decide for every sample its split and its defects.

    In every split that has an image, each defect class occurs.

    Returns:
        list[tuple[str, tuple[int]]]: (split, classes) of each sample.
    """
    rng = np.random.default_rng([seed, 2**31])
    decks = list(COMBINATIONS)
    odds = np.array(list(COMBINATIONS.values()), float)
    plan = []
    for split, count in zip(SPLITS, split_sizes(num, ratios)):
        dealt = [decks[k] for k in rng.choice(len(decks), count, p=odds / odds.sum())]
        if count and len({c for classes in dealt for c in classes}) < 3:
            dealt[0] = (SUNBURN, ULCER, WIND_SCARRING)
        plan += [(split, classes) for classes in dealt]
    # neighbours in the folder should not all be of one split
    return [plan[k] for k in rng.permutation(num)]


def voc_palette():
    """Pascal VOC's palette, 768 numbers."""
    palette = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(8):
            for channel in range(3):
                if index >> (3 * bit + channel) & 1:
                    palette[index, channel] |= 128 >> bit
    return palette.ravel().tolist()


def _write_sample(task, folder, size, seed):
    index, name, classes = task
    image, label = make_sample(seed, index, size, classes)
    Image.fromarray(image).save(folder / 'JPEGImages' / f'{name}.jpg', quality=92)
    mask = Image.fromarray(label)
    mask.putpalette(voc_palette())
    mask.save(folder / 'SegmentationClass' / f'{name}.png')
    return np.bincount(label.ravel(), minlength=len(CLASSES))


def _single_thread():
    # many processes with many OpenCV threads each only get in each other's way
    cv2.setNumThreads(1)


def usable_cpus():
    """Number of processors that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_set(dst,
              num=100,
              size=512,
              seed=0,
              ratios=(6, 2, 2),
              workers=None,
              force=False,
              progress=None):
    """Write a set in VOC layout, as a whole or not at all.

    ``JPEGImages/*.jpg``, ``SegmentationClass/*.png`` (palette), the lists
    ``ImageSets/Segmentation/{train,val,test,trainval}.txt`` and
    ``synthetic_oranges.json``, which records what made the set. The same
    arguments give the same bytes (with the same versions of NumPy, OpenCV and
    Pillow), whatever the number of workers.

    Args:
        dst (str | Path): Folder to write; must be absent or empty.
        num (int): Number of images. Default: 100.
        size (int): Side of the images in pixels, at least 64. Default: 512.
        seed (int): Seed, at least 0. Default: 0.
        ratios (Sequence[float]): Shares of train, val and test.
            Default: (6, 2, 2).
        workers (int, optional): Processes. Default: None, one a processor.
        force (bool): Replace a set that this function made. A folder with other
            things in it is never removed. Default: False.
        progress (Callable, optional): Called without arguments after each image.

    Returns:
        dict: The record that was written.

    Raises:
        FileExistsError: If ``dst`` holds something that may not be replaced.
        ValueError: If an argument is out of range.

    Example:
        >>> record = write_set('/tmp/oranges', num=5, size=64)  # doctest: +SKIP
        >>> record['images']['train']  # doctest: +SKIP
        3
    """
    if num < 1 or seed < 0:
        raise ValueError(
            f'num is {num} and seed is {seed}: expected num of 1 or more, seed of '
            '0 or more')
    if size < MIN_SIZE:
        raise ValueError(f'size is {size} pixels: expected at least {MIN_SIZE}')
    if workers is not None and workers < 1:
        raise ValueError(f'workers is {workers}: expected 1 or more')
    plan = plan_set(num, ratios, seed)
    dst = Path(dst).expanduser().resolve()
    _check_free(dst, force)
    dst.parent.mkdir(parents=True, exist_ok=True)

    digits = max(len(str(num)), 4)
    names = [f'img{index + 1:0{digits}d}' for index in range(num)]
    tasks = [(k, names[k], classes) for k, (_, classes) in enumerate(plan)]
    partial = Path(tempfile.mkdtemp(prefix=f'.{dst.name}.partial-', dir=dst.parent))
    try:
        partial.chmod(0o777 & ~_umask())
        for folder in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
            (partial / folder).mkdir(parents=True)
        write = functools.partial(
            _write_sample, folder=partial, size=size, seed=seed)
        pixels = _run(write, tasks, workers or usable_cpus(), progress)
        lists = {s: [n for n, (t, _) in zip(names, plan) if t == s] for s in SPLITS}
        lists['trainval'] = sorted(lists['train'] + lists['val'])
        for split, members in lists.items():
            path = partial / 'ImageSets/Segmentation' / f'{split}.txt'
            path.write_text(
                ''.join(f'{name}\n' for name in members), encoding='utf-8')
        record = {
            'made_by': 'tools/dataset_converters/make_synthetic_oranges.py',
            'fastsegformer_mm': __version__,
            'arguments': {
                'num': num,
                'size': size,
                'seed': seed,
                'ratios': [float(r) for r in ratios]},
            'images': {s: len(members) for s, members in lists.items()},
            'classes': list(CLASSES),
            'images_with_class': {
                CLASSES[c]: int(sum(p[c] > 0 for p in pixels))
                for c in range(len(CLASSES))},
            'percent_of_pixels': {
                CLASSES[c]: round(100 * sum(int(p[c]) for p in pixels)
                                  / (num * size * size), 3)
                for c in range(len(CLASSES))}}
        (partial / RECORD).write_text(
            json.dumps(record, indent=2) + '\n', encoding='utf-8')
        _swap_in(partial, dst)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def _check_free(dst, force):
    if not dst.exists() or (dst.is_dir() and not any(dst.iterdir())):
        return
    if not (dst / RECORD).is_file():
        raise FileExistsError(
            f'{dst} exists and was not made by this tool (no {RECORD} in it), so it '
            'is left alone: expected an absent or empty folder; name another one')
    if not force:
        raise FileExistsError(
            f'{dst} already holds a synthetic set: expected an absent or empty '
            'folder; name another one, or pass --force to replace the set')


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _run(write, tasks, workers, progress):
    results = []
    if min(workers, len(tasks)) == 1:
        threads = cv2.getNumThreads()
        _single_thread()
        try:
            for task in tasks:
                results.append(write(task))
                if progress:
                    progress()
        finally:
            cv2.setNumThreads(threads)
        return results
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)), initializer=_single_thread)
    try:
        for result in pool.map(write, tasks):
            results.append(result)
            if progress:
                progress()
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _swap_in(partial, dst):
    """Put the finished set in its place; an old set goes only then."""
    if not dst.exists():
        partial.rename(dst)
        return
    old = Path(tempfile.mkdtemp(prefix=f'.{dst.name}.old-', dir=dst.parent))
    dst.rename(old / dst.name)
    partial.rename(dst)
    shutil.rmtree(old)
