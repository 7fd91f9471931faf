"""Cards: read off configs, carried as JSON."""

import dataclasses
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.registry import init_default_scope

from fastsegformer_mm.deploy import ModelCard
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.model_card import dataset_classes

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))
CARD = ModelCard(
    name='my',
    classes=('sound', 'ulcer'),
    palette=((0, 0, 0), (0, 128, 0)),
    size=(224, 160),
    resize='keep_ratio',
    interpolation='bilinear',
    resize_backend='cv2',
    pad_val=7,
    mean=(1.5, 2.0, 3.0),
    std=(4.0, 5.0, 6.0),
    to_rgb=False,
    size_divisor=32,
    align_corners=False,
    threshold=0.25,
    version='9.9.9',
    checkpoint='best.pth',
    sha256='ab' * 32,
)


class TestJson:
    def test_there_and_back(self):
        text = CARD.to_json()
        assert '\n' not in text
        assert ModelCard.from_json(text) == CARD
        assert hash(ModelCard.from_json(text)) == hash(CARD)

    def test_every_field_is_carried(self):
        values = json.loads(CARD.to_json())
        assert set(values) == {f.name for f in dataclasses.fields(ModelCard)}
        for name in ('pad_val', 'threshold', 'align_corners', 'sha256', 'version'):
            assert values[name] == getattr(CARD, name)

    @pytest.mark.parametrize(
        'text',
        [
            'nothing',
            '[]',
            '{}',
            '{"name": "my"}',
            CARD.to_json().replace('"to_rgb"', '"to_hsv"'),
            CARD.to_json().replace('[224, 160]', '3'),
        ],
    )
    def test_no_card(self, text):
        with pytest.raises(DeployError, match='this is not the description of a model'):
            ModelCard.from_json(text)


def test_random_weights():
    assert not CARD.random_weights
    assert dataclasses.replace(CARD, checkpoint='').random_weights


class TestFromConfig:
    @staticmethod
    def card(cfg, **changes):
        model = cases.make_segmentor(cfg)
        return ModelCard.from_config(cfg, model, **changes)

    def test_letterbox(self):
        card = self.card(cases.make_config('letterbox_cv2'))
        assert (card.resize, card.size, card.pad_val) == ('letterbox', (64, 64), 90)
        assert (card.interpolation, card.resize_backend) == ('bilinear', 'cv2')

    def test_letterbox_as_it_is(self):
        card = self.card(cases.make_config('letterbox'))
        assert (card.pad_val, card.interpolation, card.resize_backend) == (
            128,
            'bicubic',
            'pillow',
        )

    @pytest.mark.parametrize(
        ('resize', 'size'), [('stretch', (64, 64)), ('keep_ratio', (64, 96))]
    )
    def test_resize(self, resize, size):
        card = self.card(cases.make_config(resize))
        # Resize has (width, height)
        assert (card.resize, card.size) == (resize, size)
        assert (card.interpolation, card.resize_backend) == ('bilinear', 'cv2')

    def test_no_resizing(self):
        card = self.card(cases.make_config('none'))
        assert (card.resize, card.size) == ('none', (64, 64))

    def test_no_size_at_all(self):
        cfg = cases.make_config('none')
        cfg.crop_size = None
        with pytest.raises(
            DeployError, match='neither the test pipeline nor crop_size'
        ):
            self.card(cfg)

    def test_unknown_transform(self):
        cfg = cases.make_config()
        cfg.test_dataloader.dataset.pipeline.insert(
            1, dict(type='RandomFlip', prob=0.5)
        )
        with pytest.raises(
            DeployError, match='has RandomFlip, which is not known here'
        ):
            self.card(cfg)

    def test_normalisation(self):
        card = self.card(cases.make_config(divisor=32))
        assert card.mean == (120.0, 110.0, 100.0)
        assert card.std == (60.0, 50.0, 40.0)
        assert (card.to_rgb, card.size_divisor) == (True, 32)

    def test_no_normalisation(self):
        cfg = cases.make_config()
        cfg.model.data_preprocessor = dict(type='SegDataPreProcessor')
        card = self.card(cfg)
        assert (card.mean, card.std) == ((0.0,) * 3, (1.0,) * 3)
        assert (card.to_rgb, card.size_divisor) == (False, 1)

    @pytest.mark.parametrize('corners', [True, False])
    def test_head(self, corners):
        card = self.card(cases.make_config(align_corners=corners, classes=4))
        assert (card.align_corners, card.threshold) == (corners, None)
        card = self.card(cases.make_config(align_corners=corners, classes=1))
        assert (card.align_corners, card.threshold) == (corners, 0.4)

    def test_classes_given(self):
        classes = (['a', 'b'], [[1, 2, 3], [4, 5, 6]])
        card = self.card(cases.make_config(), classes=classes)
        assert card.classes == ('a', 'b')
        assert card.palette == ((1, 2, 3), (4, 5, 6))

    def test_classes_of_the_data_set(self):
        card = self.card(cases.make_config())
        assert card.classes == ('background', 'sunburn', 'ulcer', 'wind scarring')
        assert card.palette[1] == (128, 0, 0)


def test_classes_of_a_wrapped_set_with_its_own():
    init_default_scope('mmseg')
    cfg = cases.make_config()
    inner = dict(
        cfg.test_dataloader.dataset,
        metainfo=dict(classes=('x', 'y'), palette=[[0, 0, 0], [1, 1, 1]]),
    )
    cfg.test_dataloader.dataset = dict(type='RepeatDataset', dataset=inner, times=2)
    assert dataset_classes(cfg) == (('x', 'y'), [[0, 0, 0], [1, 1, 1]])
