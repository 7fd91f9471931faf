"""Images whose brightness is their number, from 100 on where unlabelled; by runpy."""

import numpy as np
from PIL import Image

META = dict(classes=('background', 'crack'), palette=[[0, 0, 0], [255, 0, 0]])
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # a border that is background where there are labels
    dict(type='Pad', size=(24, 24), pad_val=dict(img=0, seg=0)),
    dict(type='PackSegInputs'),
]


def write(root, labelled=3, unlabelled=5):
    """Grey PNGs of 16x16; labels are of class 1."""
    for folder in ('images', 'labels', 'photos'):
        (root / folder).mkdir(parents=True)
    for k in range(labelled):
        Image.new('RGB', (16, 16), (k, k, k)).save(root / f'images/{k:02d}.png')
        Image.fromarray(np.ones((16, 16), np.uint8)).save(root / f'labels/{k:02d}.png')
    for k in range(unlabelled):
        Image.new('RGB', (16, 16), (100 + k,) * 3).save(root / f'photos/{k:02d}.png')
    return root


def folder(root, images, **changes):
    """Config of the images alone."""
    return {
        **dict(data_root=str(root), img_suffix='.png', pipeline=PIPELINE,
               data_prefix=dict(img_path=images)),
        **changes}


def config(root, **changes):
    """Config of both."""
    prefix = dict(img_path='images', seg_map_path='labels')
    return dict(
        type='PartlyLabelledDataset',
        labelled=dict(folder(root, '', type='BaseSegDataset', metainfo=META),
                      data_prefix=prefix),
        unlabelled=folder(root, 'photos', type='UnlabelledDataset', **changes))
