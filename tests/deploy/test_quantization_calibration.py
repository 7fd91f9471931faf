"""Calibration images: the training set through the pipeline, the same every time."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.quantization import calibration_images
from fastsegformer_mm.deploy.quantization.calibration import gather

LOADING = [{'type': 'LoadImageFromFile'}, {'type': 'LoadAnnotations'}]


@pytest.fixture
def cfg(tmp_path):
    """Four red images of 20 x 30, cropped to 16 x 16 and normalised."""
    for folder in ('img', 'ann'):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
        pixels[..., 0] = 50 * k
        Image.fromarray(pixels).save(tmp_path / 'img' / f'{k}.png')
        Image.fromarray(np.zeros((20, 30), np.uint8)).save(
            tmp_path / 'ann' / f'{k}.png'
        )
    steps = [
        {'type': 'RandomCrop', 'crop_size': (16, 16)},
        {'type': 'RandomFlip', 'prob': 0.5},
    ]
    pack = {'type': 'PackSegInputs'}
    dataset = {
        'type': 'BaseSegDataset',
        'data_root': str(tmp_path),
        'data_prefix': {'img_path': 'img', 'seg_map_path': 'ann'},
        'img_suffix': '.png',
        'metainfo': {'classes': ('no', 'yes'), 'palette': [[0, 0, 0], [9, 9, 9]]},
        'serialize_data': False,
    }
    test = [{'type': 'LetterBox', 'size': (24, 24)}]
    return Config(
        {
            'default_scope': 'mmseg',
            'model': {
                'type': 'EncoderDecoder',
                'data_preprocessor': {
                    'type': 'SegDataPreProcessor',
                    'mean': [100.0, 110.0, 120.0],
                    'std': [50.0, 60.0, 70.0],
                    'bgr_to_rgb': True,
                    # of batches in training alone
                    'size_divisor': 32,
                },
            },
            'train_dataloader': {
                'dataset': {**dataset, 'pipeline': [*LOADING, *steps, pack]}
            },
            'test_dataloader': {
                'dataset': {**dataset, 'pipeline': [LOADING[0], *test, pack]}
            },
        }
    )


def reds(images):
    return sorted({round(float(i[0, 0].mean()) * 50 + 100) for i in images})


def test_normalised_images_of_the_training_pipeline(cfg):
    images = list(calibration_images(cfg, 4))
    assert {(i.shape, i.dtype.name) for i in images} == {((1, 3, 16, 16), 'float32')}
    # each image once before any comes again
    assert reds(images) == [0, 50, 100, 150]
    assert all(np.ptp(i[0, 0]) == 0 for i in images)
    green = np.stack([i[0, 1] for i in images]) * 60 + 110
    assert np.allclose(green, green.round(), atol=1e-3)
    assert green.min() < 20
    assert green.max() > 235


@pytest.mark.parametrize('geometry', ['train', 'test'])
def test_partly_labelled_images(cfg, geometry):
    """As in testing, those that have labels."""
    images = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='PartlyLabelledDataset', labelled=dict(images, indices=1),
        unlabelled=dict(type='UnlabelledDataset', dataset=images))
    found = list(calibration_images(cfg, 5, geometry=geometry))
    assert reds(found) == ([0, 50, 100, 150] if geometry == 'train' else [0])


def test_one_seed_one_set(cfg):
    first = list(calibration_images(cfg, 6, seed=3))
    torch.rand(7)
    again = list(calibration_images(cfg, 6, seed=3))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    other = list(calibration_images(cfg, 6, seed=4))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other))


def test_more_than_there_are_come_augmented_anew(cfg):
    images = list(calibration_images(cfg, 8))
    assert len(images) == 8
    assert reds(images[4:]) == [0, 50, 100, 150]
    assert not any(np.array_equal(a, b) for a, b in zip(images[:4], images[4:]))


def test_geometry_of_the_test_pipeline_on_images_of_training(cfg):
    cfg.test_dataloader.dataset.data_root = '/not/here'
    images = list(calibration_images(cfg, 8, geometry='test'))
    # none twice
    assert [i.shape for i in images] == [(1, 3, 24, 24)] * 4
    # 24 x 16 in the middle of grey
    grey = (128 - np.array([100, 110, 120])) / [50, 60, 70]
    for image in images:
        assert np.allclose(image[0, :, :3, 0], grey[:, None], atol=1e-6)
    # the config is left alone
    assert cfg.train_dataloader.dataset.pipeline[2]['type'] == 'RandomCrop'


def test_geometry_reaches_into_wrapped_data_sets(cfg):
    single = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = {
        'type': 'RepeatDataset',
        'times': 3,
        'dataset': {'type': 'ConcatDataset', 'datasets': [single, single]},
    }
    images = list(calibration_images(cfg, 99, geometry='test'))
    assert [i.shape for i in images] == [(1, 3, 24, 24)] * 8


def test_options_are_merged_and_a_file_will_do(cfg, tmp_path):
    path = tmp_path / 'config.py'
    cfg.dump(path)
    options = {'model.data_preprocessor.std': [1.0, 1.0, 1.0]}
    (image,) = calibration_images(str(path), 1, cfg_options=options)
    assert float(image[0, 0, 0, 0]) in (-100, -50, 0, 50)


def test_absent_files_name_the_folder_and_the_way_out(cfg):
    options = {'train_dataloader.dataset.data_root': '/not/here'}
    # at once, before an image is asked for
    with pytest.raises(DeployError, match=r'/not/here/img.*--cfg-options') as caught:
        calibration_images(cfg, 2, cfg_options=options)
    assert 'training set' in str(caught.value)


def test_an_empty_folder(cfg, tmp_path):
    for path in tmp_path.glob('*/*.png'):
        path.unlink()
    with pytest.raises(DeployError, match='training set'):
        calibration_images(cfg, 2)


def test_a_broken_file_is_named(cfg, tmp_path):
    (tmp_path / 'img/2.png').write_bytes(b'no image')
    with pytest.raises(DeployError, match=r'img/2\.png.*take it out'):
        list(calibration_images(cfg, 4))


def test_no_training_set(cfg):
    cfg.pop('train_dataloader')
    with pytest.raises(DeployError, match='no train_dataloader'):
        calibration_images(cfg, 2)


@pytest.mark.parametrize(
    ('options', 'match'),
    [({'num': 0}, 'num=0.*1 or more'), ({'geometry': 'val'}, "geometry='val'.*train")],
)
def test_values_that_are_none(cfg, options, match):
    with pytest.raises(DeployError, match=match):
        calibration_images(cfg, **options)


def test_gather_checks_shape_and_type():
    image = np.zeros((1, 3, 8, 8), np.float32)
    assert gather(iter([image]), (1, 3, 8, 8))[0] is image
    assert len(gather([image, image], (None, 3, -1, None))) == 2
    for shape, images, match in (
        ((1, 3, 8, 8), [], 'no calibration image'),
        ((1, 3, 8, 9), [image], r'image 0 is float32 of \(1, 3, 8, 8\).*8, 9'),
        ((1, 3, 8, 8), [image, image[0]], 'image 1'),
        ((1, 3, 8, 8), [image.astype(float)], 'float64'),
    ):
        with pytest.raises(DeployError, match=match):
            gather(images, shape)
