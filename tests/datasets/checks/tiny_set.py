"""Tiny data sets in both layouts, and the configs that read them; by runpy."""

import copy
import zlib
from functools import cache
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = {
    'neu': 'fastsegformer-e_efficientformerv2-s0_1xb32-100e_neu-seg-224x224.py',
    'voc': 'fastsegformer-e_efficientformerv2-s0_1xb32-1000e_navel-orange-224x224.py',
    'mine': 'fastsegformer-e_efficientformerv2-s0_1xb32-100e_my-set-224x224.py'}
SPLITS = ('train', 'val', 'test')
SIZE = (24, 32)  # height, width


@cache
def read(layout):
    return Config.fromfile(ROOT / 'configs/fastsegformer' / CONFIGS[layout])


def config(root, layout='neu', splits=SPLITS, **changes):
    """The real config with another root, and changes to every dataset of it."""
    cfg = copy.deepcopy(read(layout))
    for split in SPLITS:
        if split in splits:
            cfg[f'{split}_dataloader']['dataset'].update(
                data_root=str(root), **copy.deepcopy(changes))
        else:
            cfg.pop(f'{split}_dataloader')
    return cfg


def paths(root, split, name, layout='neu'):
    """Image and label of a name."""
    if layout == 'neu':
        return (root / f'images/{split}/{name}.jpg',
                root / f'annotations/{split}/{name}.png')
    return (root / f'JPEGImages/{name}.jpg', root / f'SegmentationClass/{name}.png')


def photo(name, size=SIZE):
    """A colour picture that no other name has; smooth, so that JPEG keeps it."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blocks = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8))
    return blocks.resize(size[::-1], Image.Resampling.BILINEAR)


def stripes(size=SIZE, classes=4):
    """A label with as many pixels of each class."""
    return np.repeat(np.arange(classes, dtype=np.uint8), size[1] // classes)[
        None].repeat(size[0], 0)


def add(root, split, name, image=None, label=None, layout='neu', classes=4):
    """Write a pair; returns both paths."""
    files = paths(root, split, name, layout)
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    (image or photo(f'{split}/{name}')).save(files[0], quality=95)
    label = stripes(classes=classes) if label is None else label
    (label if isinstance(label, Image.Image)
     else Image.fromarray(label)).save(files[1])
    return tuple(map(str, files))


def make(root, layout='neu', count=2, splits=SPLITS):
    """A sound set."""
    for split in splits:
        names = [f'{split}{k}' for k in range(count)]
        for name in names:
            add(root, split, name, layout=layout, classes=2 if layout == 'mine' else 4)
        if layout != 'neu':
            write_list(root, split, names)
    return root


def write_list(root, split, lines):
    folder = root / 'ImageSets/Segmentation'
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{split}.txt').write_text('\n'.join(lines) + '\n')
    return str(folder / f'{split}.txt')
