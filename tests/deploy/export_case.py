"""A small trained-like network as files: config, checkpoint, frames, labels."""

import runpy
from pathlib import Path

import cv2
import numpy as np
import torch

cases = runpy.run_path(str(Path(__file__).with_name('segmentor_cases.py')))
SHAPES = ((96, 128), (70, 50), (64, 64))


def write_case(folder, resize='letterbox', **options):
    """(config file, checkpoint file) in a folder."""
    cfg = cases['make_config'](resize, **options)
    cfg.test_evaluator = dict(type='DefectIoUMetric')
    network, _ = cases['make_network'](cfg)
    config, checkpoint = folder / 'tiny.py', folder / 'tiny.pth'
    cfg.dump(config)
    weights = network.segmentor.state_dict()
    torch.save({'state_dict': weights, 'meta': {}}, checkpoint)
    return config, checkpoint


def write_frames(folder):
    """Folders of three frames and of their labels, which are of any classes."""
    images, labels = folder / 'images', folder / 'labels'
    images.mkdir()
    labels.mkdir()
    for seed, shape in enumerate(SHAPES):
        cv2.imwrite(str(images / f'{seed}.png'), cases['frame'](*shape, seed))
        label = np.random.default_rng(seed).integers(0, 4, shape, np.uint8)
        cv2.imwrite(str(labels / f'{seed}.png'), label)
    return images, labels
