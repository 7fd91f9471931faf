"""What a config says of frames: wrapped test sets, loaders, grey networks."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.apis import inference_model

from fastsegformer_mm.deploy import DefectSegmentor, ModelCard
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.export import ExportOptions, export_model
from fastsegformer_mm.deploy.export.frame_input import FrameInput
from fastsegformer_mm.deploy.export.options import set_size
from fastsegformer_mm.deploy.frames import Preprocess
from fastsegformer_mm.deploy.input_settings import inference_sets
from fastsegformer_mm.deploy.network import load_network

HERE = Path(__file__)
cases = SimpleNamespace(**runpy.run_path(str(HERE.with_name('segmentor_cases.py'))))
export_case = SimpleNamespace(**runpy.run_path(str(HERE.with_name('export_case.py'))))


def grey_config(resize='letterbox', **options):
    """The small network for images of one channel."""
    cfg = cases.make_config(resize, **options)
    cfg.model.backbone.in_channels = 1
    cfg.model.data_preprocessor.update(mean=[110.0], std=[50.0])
    for step in (cfg.test_pipeline[0], cfg.test_dataloader.dataset.pipeline[0]):
        step.color_type = 'grayscale'
    return cfg


def wrapped(cfg, kind):
    """The same config, with its test set in a wrapper."""
    inner = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = {
        'ConcatDataset': dict(
            type='ConcatDataset', datasets=[inner, dict(inner, data_root='more')]
        ),
        'RepeatDataset': dict(type='RepeatDataset', times=2, dataset=inner),
        'ClassBalancedDataset': dict(
            type='ClassBalancedDataset', oversample_thr=0.1, dataset=inner
        ),
        'both': dict(
            type='RepeatDataset',
            times=2,
            dataset=dict(type='ConcatDataset', datasets=[inner, inner]),
        ),
    }[kind]
    return Config(cfg._cfg_dict.to_dict())


def card_of(cfg):
    return ModelCard.from_config(cfg, cases.make_segmentor(cfg))


class TestWrappers:
    @pytest.mark.parametrize(
        'kind', ['ConcatDataset', 'RepeatDataset', 'ClassBalancedDataset', 'both']
    )
    def test_card_and_size(self, kind):
        cfg = wrapped(cases.make_config(), kind)
        assert card_of(cfg) == card_of(cases.make_config())
        assert set_size(cfg, (96, 32))
        assert not set_size(cfg, (96, 32))
        assert [s['pipeline'][1]['size'] for s in inference_sets(cfg)] == (
            [(96, 32)] * len(inference_sets(cfg))
        )

    def test_sets_with_different_pipelines(self):
        cfg = wrapped(cases.make_config(), 'ConcatDataset')
        _, second = inference_sets(cfg)
        # how labels are loaded concerns no frame
        second['pipeline'][2]['reduce_zero_label'] = True
        assert card_of(cfg).size == (64, 64)
        second['pipeline'][1]['size'] = (32, 32)
        with pytest.raises(DeployError, match='have different pipelines'):
            card_of(cfg)

    def test_mixed_images(self):
        cfg = cases.make_config()
        cfg.test_dataloader.dataset = dict(
            type='MultiImageMixDataset',
            dataset=cfg.test_dataloader.dataset,
            pipeline=[dict(type='RandomMosaic', prob=1.0, img_scale=(64, 64))],
        )
        with pytest.raises(DeployError, match='a MultiImageMixDataset with a pipeline'):
            card_of(cfg)

    def test_prediction_of_mmsegmentation(self):
        """The whole way, from a ConcatDataset's config to the mask."""
        cfg = wrapped(cases.make_config('stretch'), 'ConcatDataset')
        frame = cases.frame()
        with DefectSegmentor(cases.make_network(cfg), backend='torch') as segmentor:
            found = segmentor(frame).mask
        plain = cases.make_config('stretch')
        plain.test_pipeline[0].type = 'LoadImageFromNDArray'
        expected = inference_model(cases.make_segmentor(plain), frame)
        np.testing.assert_array_equal(found, expected.pred_sem_seg.data[0])


class TestLoading:
    @pytest.mark.parametrize(
        ('option', 'value'),
        [
            ('color_type', 'unchanged'),
            ('color_type', 'color_ignore_orientation'),
            ('imdecode_backend', 'tifffile'),
            ('to_float32', True),
        ],
    )
    def test_what_no_frame_can_be(self, option, value):
        cfg = cases.make_config()
        cfg.test_dataloader.dataset.pipeline[0][option] = value
        with pytest.raises(DeployError, match=rf'loads images with {option}={value!r}'):
            card_of(cfg)

    def test_float_without_resizing_is_the_same(self):
        cfg = cases.make_config('none')
        cfg.test_dataloader.dataset.pipeline[0].to_float32 = True
        assert card_of(cfg) == card_of(cases.make_config('none'))

    @pytest.mark.parametrize(
        'kind', ['LoadImageFromNpy', 'LoadBiomedicalImageFromFile']
    )
    def test_other_loaders(self, kind):
        cfg = cases.make_config()
        cfg.test_dataloader.dataset.pipeline[0] = dict(type=kind)
        with pytest.raises(DeployError, match=f'the test pipeline has {kind}, which'):
            card_of(cfg)

    def test_resized_twice(self):
        cfg = cases.make_config()
        cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='Resize', scale=32))
        with pytest.raises(DeployError, match='has LetterBox after Resize'):
            card_of(cfg)

    def test_one_number_for_both_sides(self):
        cfg = cases.make_config('stretch')
        cfg.test_dataloader.dataset.pipeline[1].scale = 48
        assert card_of(cfg).size == (48, 48)


class TestPreprocessor:
    @staticmethod
    def card(**changes):
        cfg = cases.make_config()
        cfg.model.data_preprocessor.update(changes)
        return card_of(cfg)

    def test_one_number_for_all_channels(self):
        card = self.card(mean=[7], std=[9])
        assert (card.mean, card.std) == ((7.0,) * 3, (9.0,) * 3)

    def test_the_other_name_of_the_same_order(self):
        assert self.card(bgr_to_rgb=False, rgb_to_bgr=True).to_rgb
        assert not self.card(bgr_to_rgb=False).to_rgb

    @pytest.mark.parametrize(
        ('changes', 'words'),
        [
            (dict(mean=[1, 2], std=[1, 2]), 'mean of the data preprocessor has 2'),
            (dict(mean=[1] * 4, std=[1] * 4), 'has 4 numbers, and images have 3'),
            (dict(test_cfg=dict(size=(96, 96))), 'expected size_divisor alone'),
            (dict(pad_val=9, test_cfg=dict(size_divisor=32)), 'pad_val=9'),
        ],
    )
    def test_what_is_not_known(self, changes, words):
        cfg = cases.make_config()
        segmentor = cases.make_segmentor(cfg)
        cfg.model.data_preprocessor.update(changes)
        with pytest.raises(DeployError, match=words):
            ModelCard.from_config(cfg, segmentor)

    def test_grey_images_for_three_channels(self):
        cfg = grey_config()
        segmentor = cases.make_segmentor(cfg)
        cfg.model.data_preprocessor.update(mean=[1, 2, 3], std=[1, 2, 3])
        with pytest.raises(DeployError, match='has 3 numbers, and images have 1'):
            ModelCard.from_config(cfg, segmentor)


class TestGrey:
    def test_card(self):
        card = card_of(grey_config())
        assert (card.channels, card.mean, card.std) == (1, (110.0,), (50.0,))
        assert not card.to_rgb
        assert ModelCard.from_json(card.to_json()) == card
        assert card_of(cases.make_config()).channels == 3

    @pytest.mark.parametrize('resize', [*cases.RESIZES])
    def test_input_of_mmsegmentation(self, resize):
        """A frame made grey as OpenCV does it, then its own pipeline."""
        cfg = grey_config(resize)
        image, _ = Preprocess(card_of(cfg))(cases.frame())
        assert image.shape[1] == 1
        expected = pipeline_input(cfg, mmcv.bgr2gray(cases.frame()))
        # PyTorch rounds Pillow's filters otherwise at few pixels
        limit = 1.01 / 50 if resize == 'letterbox' else 1e-5
        assert np.abs(image - expected).max() <= limit
        assert (np.abs(image - expected) < 1e-5).mean() > 0.995

    @pytest.mark.parametrize('resize', ['letterbox', 'letterbox_cv2', 'none'])
    def test_in_the_graph(self, resize):
        card = card_of(grey_config(resize))
        frame = cases.frame(70, 90)
        with torch.no_grad():
            image, _ = FrameInput(card)(torch.from_numpy(frame)[None])
        expected, _ = Preprocess(card)(frame)
        assert np.abs(image.numpy() - expected).max() < 1.01 / 50
        assert (np.abs(image.numpy() - expected) < 1e-5).mean() > 0.99

    @pytest.mark.parametrize('backend', ['torch', 'onnxruntime', 'openvino'])
    @pytest.mark.parametrize('threshold', [False, True])
    def test_mask_of_mmsegmentation(self, backend, threshold, tmp_path):
        """A file of one channel: the same pixels, whatever runs the network."""
        cfg = grey_config('stretch', classes=1 if threshold else 4)
        path = str(tmp_path / 'grey.png')
        cv2.imwrite(path, mmcv.bgr2gray(cases.frame()))
        expected = inference_model(cases.make_segmentor(cfg), path)
        network = cases.make_network(cfg)
        with DefectSegmentor(network, backend=backend, device='cpu') as segmentor:
            found = segmentor(cv2.imread(path))
        wanted = expected.pred_sem_seg.data[0].numpy()
        assert len(np.unique(wanted)) > 1
        assert (found.mask == wanted).mean() > (0.9999 if backend == 'torch' else 0.999)

    @pytest.mark.parametrize(
        ('format', 'whole'), [('onnx', False), ('openvino', False), ('openvino', True)]
    )
    def test_export(self, format, whole, tmp_path):
        """Kept only where it equals MMSegmentation; it runs without its config."""
        cfg = wrapped(grey_config('letterbox_cv2'), 'ConcatDataset')
        network, _ = cases.make_network(cfg)
        weights = dict(state_dict=network.segmentor.state_dict(), meta={})
        torch.save(weights, tmp_path / 'grey.pth')
        images, _ = export_case.write_frames(tmp_path)
        out = tmp_path / f'grey.{"onnx" if format == "onnx" else "xml"}'
        options = ExportOptions(
            format, images=[images], with_pre=whole, with_post=whole
        )
        parity = export_model(cfg, tmp_path / 'grey.pth', out, options)
        assert parity.equal > 0.999
        frame = cases.frame()
        with DefectSegmentor(out) as segmentor:
            assert segmentor.card.channels == 1
            found = segmentor(frame).mask
        network = load_network(cfg, tmp_path / 'grey.pth')
        with DefectSegmentor(network, backend='torch', device='cpu') as segmentor:
            assert (segmentor(frame).mask == found).mean() > 0.999


def pipeline_input(cfg, image):
    """(1, 1, h, w) as MMSegmentation's pipeline and data preprocessor make it."""
    from mmengine.dataset import Compose, pseudo_collate
    from mmseg.registry import MODELS

    init_default_scope('mmseg')
    _, *rest = cfg.test_dataloader.dataset.pipeline
    rest = [step for step in rest if step['type'] != 'LoadAnnotations']
    results = dict(img=image, img_shape=image.shape[:2], ori_shape=image.shape[:2])
    batch = pseudo_collate([Compose(rest)(results)])
    return MODELS.build(cfg.model.data_preprocessor)(batch)['inputs'].numpy()
