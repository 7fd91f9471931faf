"""Images by which quantization finds the range of every activation."""

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from mmengine.config import Config

from fastsegformer_mm.visualization.network_input import NetworkFeed

from ..config import open_config
from ..errors import DeployError
from ..input_settings import inference_pipeline

GEOMETRIES = ('train', 'test')


def calibration_images(
    config: str | Path | Config,
    num: int = 300,
    seed: int = 0,
    cfg_options: dict | None = None,
    geometry: str = 'train',
) -> Iterator[np.ndarray]:
    """Images of a config's training set, as its network gets them.

    They are drawn at random, each once before any comes again with another
    augmentation. One seed gives the same images every time.

    Args:
        config (str | Path | Config): Config of the network.
        num (int): Number of images. Defaults to 300, as NNCF.
        seed (int): Settles which images, and every choice of the pipeline.
        cfg_options (dict, optional): Settings to override in the config.
        geometry (str): 'train' puts them through the training pipeline; 'test'
            through the test pipeline, as frames on the line come, where an image
            is never drawn twice: there are at most as many as the set has.
            Defaults to 'train'.

    Returns:
        Iterator[np.ndarray]: float32 of (1, C, h, w), normalised.

    Raises:
        DeployError: ``num`` or ``geometry`` is not one of those, the config has no
            training set, or the set's files are not there; at once. While images
            are drawn: a file is broken.

    Example:
        >>> images = calibration_images('config.py', 100)
        >>> next(images).shape
        (1, 3, 224, 224)
    """
    if num < 1:
        raise DeployError(f'num={num} calibration images; expected 1 or more, say 300')
    if geometry not in GEOMETRIES:
        raise DeployError(f'geometry={geometry!r}; expected one of {GEOMETRIES}')
    cfg = open_config(config, cfg_options)
    if geometry == 'test':
        _use_test_pipeline(cfg)
    name = cfg.filename or 'the config'
    try:
        feed = NetworkFeed(cfg, 'train')
    except (OSError, ValueError) as error:
        raise DeployError(
            f'{name}: INT8 is calibrated on images of the training set, which cannot '
            f'be read: {error}. Put the data set there, or name its folder by '
            '--cfg-options train_dataloader.dataset.data_root=FOLDER'
        ) from error
    # batches of training are padded to multiples that the network never sees again
    feed.training = False
    if not len(feed):
        raise DeployError(
            f'{name}: the folder of the training set has no image, on which INT8 could '
            'be calibrated; put the data set there, or name its folder by '
            '--cfg-options train_dataloader.dataset.data_root=FOLDER'
        )
    return _draw(feed, num, seed, geometry)


def _draw(feed: NetworkFeed, num: int, seed: int, geometry: str):
    order = np.random.default_rng(seed).permutation(len(feed))
    if geometry == 'test':
        num = min(num, len(order))
    for count in range(num):
        repeat, place = divmod(count, len(order))
        try:
            found = feed.get(int(order[place]), seed, repeat)
        except ValueError as error:
            raise DeployError(
                f'{error}; repair the file or take it out of the set'
            ) from error
        yield found.tensor.numpy()[None]


def _use_test_pipeline(cfg: Config) -> None:
    """Let every labelled data set of training load its images as in testing."""
    pipeline = inference_pipeline(cfg)
    train = cfg.train_dataloader.dataset
    while 'labelled' in train or (
        'dataset' in train and train['type'] != 'ConcatDataset'
    ):
        train = train.get('labelled') or train['dataset']
    for dataset in train.get('datasets', [train]):
        dataset['pipeline'] = copy.deepcopy(pipeline)
    cfg.train_dataloader.dataset = train


def gather(calibration: Iterable[np.ndarray], shape) -> list[np.ndarray]:
    """Calibration images as a list, each checked against a model's input.

    Args:
        calibration (Iterable[np.ndarray]): float32 of (1, C, h, w).
        shape (Sequence[int | None]): The model's input; None or -1 where any size
            will do.

    Raises:
        DeployError: There is none, or one has another shape or type.
    """
    images = list(calibration)
    if not images:
        raise DeployError('there is no calibration image; expected some, say 300')
    for place, image in enumerate(images):
        fits = len(image.shape) == len(shape) and all(
            want in (None, -1, have) for want, have in zip(shape, image.shape)
        )
        if not fits or image.dtype != np.float32:
            raise DeployError(
                f'calibration image {place} is {image.dtype} of {image.shape}; the '
                f'model takes float32 of {tuple(shape)}: export it in the size of the '
                "config's pipeline, or calibrate with images of the model's size"
            )
    return images
