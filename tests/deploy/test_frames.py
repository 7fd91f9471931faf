"""Frames into the network's input, as MMSegmentation and Pillow prepare them."""

import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace

import mmcv
import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from PIL import Image

from fastsegformer_mm.deploy import ModelCard
from fastsegformer_mm.deploy.errors import DeployError, FrameError
from fastsegformer_mm.deploy.frames import FramesAsTheyAre, Placement, Preprocess

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))


def make_card(**changes):
    values = dict(
        name='my',
        classes=('a', 'b'),
        palette=((0, 0, 0), (9, 9, 9)),
        size=(64, 64),
        mean=(120.0, 110.0, 100.0),
        std=(60.0, 50.0, 40.0),
    )
    return ModelCard(**{**values, **changes})


def reference(cfg, frame):
    """The input of MMSegmentation's own pipeline and data preprocessor."""
    init_default_scope('mmseg')
    steps = [dict(type='LoadImageFromNDArray'), *cfg.test_pipeline[1:]]
    pipeline = Compose([s for s in steps if s['type'] != 'LoadAnnotations'])
    packed = pipeline(dict(img=frame))
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    data = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
    return preprocessor(data, False)['inputs'].numpy()


class TestAsMMSegmentation:
    @pytest.mark.parametrize(
        ('resize', 'divisor', 'shape'),
        [
            ('letterbox', None, (48, 64)),  # margins, nothing to resize
            ('letterbox', None, (64, 31)),
            ('letterbox_cv2', None, (97, 131)),
            ('letterbox_cv2', None, (31, 20)),
            ('stretch', None, (97, 131)),
            ('stretch', 48, (20, 20)),
            ('keep_ratio', None, (97, 131)),
            ('keep_ratio', 32, (50, 211)),
            ('none', 32, (97, 131)),
            ('none', None, (33, 47)),
        ],
    )
    def test_same_numbers(self, resize, divisor, shape):
        cfg = cases.make_config(resize, divisor=divisor)
        _, card = cases.make_network(cfg)
        frame = cases.frame(*shape)
        image, _ = Preprocess(card)(frame)
        expected = reference(cfg, frame)
        assert image.dtype == np.float32
        assert np.array_equal(image, expected)

    @pytest.mark.parametrize('shape', [(97, 131), (301, 257), (33, 20), (640, 480)])
    def test_pillow_by_one_grey_level(self, shape):
        cfg = cases.make_config('letterbox')
        _, card = cases.make_network(cfg)
        frame = cases.frame(*shape)
        levels = (Preprocess(card)(frame)[0] - reference(cfg, frame)) * np.reshape(
            card.std, (3, 1, 1)
        )
        assert np.abs(levels).max() < 1.01
        assert (np.abs(levels) > 0.01).mean() < 0.02


@pytest.mark.parametrize('how', ['bicubic', 'bilinear'])
@pytest.mark.parametrize('shape', [(480, 640), (129, 77), (23, 41), (64, 640)])
def test_filters_of_pillow(how, shape):
    frame = cases.frame(*shape)
    card = make_card(
        resize='stretch', interpolation=how, mean=(0, 0, 0), std=(1, 1, 1), to_rgb=False
    )
    image = Preprocess(card)(frame)[0][0].transpose(1, 2, 0)
    filters = {'bicubic': Image.BICUBIC, 'bilinear': Image.BILINEAR}
    wanted = np.array(Image.fromarray(frame).resize((64, 64), filters[how]))
    difference = np.abs(image - wanted)
    assert difference.max() <= 1
    assert difference.mean() < 0.02


@pytest.mark.parametrize(
    ('backend', 'how'), [('pillow', 'lanczos'), ('pillow', 'nearest'), ('cv2', 'area')]
)
def test_other_filters_are_mmcvs(backend, how):
    frame = cases.frame(97, 131)
    card = make_card(
        resize='stretch',
        interpolation=how,
        resize_backend=backend,
        mean=(0, 0, 0),
        std=(1, 1, 1),
        to_rgb=False,
    )
    image = Preprocess(card)(frame)[0][0].transpose(1, 2, 0)
    wanted = mmcv.imresize(frame, (64, 64), interpolation=how, backend=backend)
    assert np.array_equal(image, wanted)


class TestPlacement:
    def test_letterbox(self):
        found = Preprocess(make_card()).placement((50, 100))
        assert found == Placement((50, 100), (32, 64), 16, 0, (64, 64))

    def test_letterbox_of_an_odd_margin(self):
        found = Preprocess(make_card()).placement((64, 33))
        assert found == Placement((64, 33), (64, 33), 0, 15, (64, 64))

    def test_divisor(self):
        card = make_card(resize='none', size_divisor=32)
        found = Preprocess(card).placement((33, 64))
        assert found == Placement((33, 64), (33, 64), 0, 0, (64, 64))

    def test_keep_ratio_of_which_no_pixel_is_left(self):
        preprocess = Preprocess(make_card(resize='keep_ratio'))
        with pytest.raises(FrameError, match='of 1 x 5000 pixels would have none left'):
            preprocess(np.zeros((1, 5000, 3), np.uint8))

    def test_keep_ratio(self):
        card = make_card(resize='keep_ratio', size=(64, 96))
        found = Preprocess(card).placement((50, 100))
        assert found == Placement((50, 100), (48, 96), 0, 0, (48, 96))


class TestBuffer:
    @pytest.mark.parametrize('resize', ['letterbox', 'stretch', 'none'])
    def test_written_again(self, resize):
        preprocess = Preprocess(make_card(resize=resize, size_divisor=32))
        first, _ = preprocess(cases.frame(50, 60))
        again, _ = preprocess(cases.frame(50, 60, seed=1), out=first)
        assert again is first
        expected, _ = preprocess(cases.frame(50, 60, seed=1))
        assert np.array_equal(again, expected)

    def test_margins_move_with_the_frame(self):
        preprocess = Preprocess(make_card())
        wide, _ = preprocess(cases.frame(30, 60))
        tall = cases.frame(60, 30)
        assert np.array_equal(preprocess(tall, wide)[0], preprocess(tall)[0])

    def test_another_size_is_new_memory(self):
        preprocess = Preprocess(make_card(resize='none'))
        first, _ = preprocess(cases.frame(32, 32))
        kept = first.copy()
        second, _ = preprocess(cases.frame(40, 32), out=first)
        assert second.shape == (1, 3, 40, 32)
        assert np.array_equal(first, kept)

    def test_own_memory_without_one(self):
        preprocess = Preprocess(make_card())
        frame = cases.frame()
        assert not np.shares_memory(preprocess(frame)[0], preprocess(frame)[0])


class TestFrames:
    @pytest.mark.parametrize('resize', ['letterbox', 'none'])
    def test_any_memory(self, resize):
        preprocess = Preprocess(make_card(resize=resize))
        frame = cases.frame()
        fixed = frame.copy()
        fixed.flags.writeable = False
        expected, _ = preprocess(frame)
        views = [fixed, frame[..., ::-1].copy()[..., ::-1], np.asfortranarray(frame)]
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            for view in views:
                assert np.array_equal(preprocess(view)[0], expected)

    @pytest.mark.parametrize('resize', ['letterbox', 'none'])
    def test_stays_as_it_is(self, resize):
        frame = cases.frame(64, 64)
        before = frame.copy()
        Preprocess(make_card(resize=resize))(frame)
        assert np.array_equal(frame, before)

    def test_channels_of_the_network(self):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[..., 0] = 180
        blue = Preprocess(make_card(to_rgb=True))(frame)[0][0, :, 0, 0]
        assert blue.tolist() == [-2.0, np.float32(-2.2), 2.0]
        blue = Preprocess(make_card(to_rgb=False))(frame)[0][0, :, 0, 0]
        assert blue.tolist() == [1.0, np.float32(-2.2), -2.5]

    @pytest.mark.parametrize(
        ('frame', 'got'),
        [
            (np.zeros((4, 4), np.uint8), r'uint8 of \(4, 4\)'),
            (np.zeros((4, 4, 4), np.uint8), r'uint8 of \(4, 4, 4\)'),
            (np.zeros((4, 4, 3), np.float32), 'float32 of'),
            (np.zeros((0, 4, 3), np.uint8), r'uint8 of \(0, 4, 3\)'),
            (torch.zeros(4, 4, 3), 'Tensor'),
            ('orange.jpg', 'str'),
            (None, 'NoneType'),
        ],
    )
    @pytest.mark.parametrize('kind', [Preprocess, FramesAsTheyAre])
    def test_others_are_refused(self, kind, frame, got):
        with pytest.raises(DeployError, match=f'a frame is {got}.*expected a NumPy'):
            kind(make_card())(frame)


def test_fixed_artefact_of_another_size():
    preprocess = Preprocess(make_card(resize='none', shape=(64, 64)))
    assert preprocess(cases.frame(64, 64))[0].shape == (1, 3, 64, 64)
    with pytest.raises(DeployError, match='input of 64 x 65, and my was exported for'):
        preprocess(cases.frame(64, 65))


def test_frames_as_they_are():
    frame = cases.frame(50, 100)
    batch, where = FramesAsTheyAre(make_card())(frame)
    assert batch.shape == (1, 50, 100, 3)
    assert np.array_equal(batch[0], frame)
    assert where == Placement((50, 100), (32, 64), 16, 0, (64, 64))
    turned, _ = FramesAsTheyAre(make_card())(frame[::-1])
    assert turned.flags.c_contiguous
    assert np.array_equal(turned[0], frame[::-1])
