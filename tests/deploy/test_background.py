"""The background: one setting, from the data set to what is drawn and graded."""

import dataclasses
import io
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.deploy import DefectSegmentor, ModelCard, Segmentation, segmentor
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.page import table
from fastsegformer_mm.deploy.page.pictures import shown_mask
from fastsegformer_mm.deploy.prediction import read_grading
from fastsegformer_mm.deploy.prediction.measure import defect_classes, measure
from fastsegformer_mm.utils.background import background_class, background_of

CASES = Path(__file__).with_name('segmentor_cases.py')
cases = SimpleNamespace(**runpy.run_path(str(CASES)))
MASK = np.array([[0, 0, 1], [0, 2, 1]], np.uint8)
FRAME = np.full((2, 3, 3), 100, np.uint8)


def card(*classes, **changes):
    palette = ((0, 0, 0), (128, 0, 0), (0, 128, 0))[: len(classes)]
    return ModelCard('m', classes, palette, (8, 8), **changes)


@pytest.mark.parametrize(
    'name',
    ['background', 'Background', 'BACKGROUND', '_background_', 'back ground', 'bg']
    + ['BG', '_bg_', 'bkg', '背景', '_背景_', 'Back-Ground'],
)
def test_known_names(name):
    assert background_class(['rust', name]) == 1


@pytest.mark.parametrize('name', ['sound', 'backgrounds rust', 'ground', 'bgr', ''])
def test_other_names(name):
    assert background_class(['rust', name]) is None


def test_setting_comes_before_the_name():
    assert background_class(['bg', 'sound'], 'sound') == 1
    assert background_class(['bg', 'sound'], 1) == 1
    assert background_class(['bg', 'sound'], None) is None
    assert background_of({'classes': ['bg', 'sound'], 'background': 1}) == 1
    assert background_of({'classes': ['bg', 'sound']}) == 0


@pytest.mark.parametrize('wrong', ['peel', 2, -1, True])
def test_no_class(wrong):
    with pytest.raises(ValueError, match='expected one of the classes, bg, sound, or'):
        background_class(['bg', 'sound'], wrong)


@pytest.mark.parametrize(
    'model',
    [
        card('背景', '锈', '划痕'),
        card('_background_', 'a', 'b'),
        card('sound', 'a', 'b', background='sound'),
        card('sound', 'a', 'b', background=0),
    ],
)
def test_neither_drawn_nor_measured_nor_graded(model, tmp_path):
    found = Segmentation(MASK, model)
    drawn = found.overlay(FRAME)
    assert (drawn[MASK == 0] == 100).all()
    assert (drawn[MASK == 1] == (50, 50, 178)).all()
    _, first, second = model.classes
    assert defect_classes(model) == {first: 1, second: 2}
    assert list(measure(MASK, model)) == [first, second]
    rule = tmp_path / 'rule.yml'
    rule.write_text(
        'grades: [{name: bad, any: [{class: all, pixels_above: 3}]}]\notherwise: good'
    )
    grading = read_grading(rule, model.classes, model.background)
    # 3 pixels of defects beside 3 of background
    assert grading(measure(MASK, model)) == ('good', [])
    assert [colour == '' for _, colour in table.legend(model)] == [True, False, False]
    shown = Image.open(io.BytesIO(shown_mask(MASK, model))).convert('RGBA')
    assert (np.asarray(shown)[..., 3] == np.where(MASK == 0, 0, 255)).all()


def test_no_background_at_all():
    model = card('bg', 'a', background=None)
    assert (Segmentation(MASK % 2, model).overlay(FRAME) != 100).all()
    assert defect_classes(model) == {'bg': 0, 'a': 1}


def test_cards_carry_it_and_old_ones_are_read():
    for background in ('sound', 0, None):
        model = card('sound', 'a', background=background)
        assert ModelCard.from_json(model.to_json()) == model
    values = json.loads(card('_background_', 'a').to_json())
    del values['background']
    old = ModelCard.from_json(json.dumps(values))
    assert (old.background, old.background_index) == ('auto', 0)
    with pytest.raises(DeployError, match="background='peel', expected one of"):
        ModelCard.from_json(json.dumps({**values, 'background': 'peel'}))


class TestFromConfig:
    @staticmethod
    def card(metainfo=None, **changes):
        cfg = cases.make_config()
        if metainfo is not None:
            cfg.test_dataloader.dataset.metainfo = metainfo
        return ModelCard.from_config(cfg, cases.make_segmentor(cfg), **changes)

    def test_of_the_data_set(self):
        assert self.card().background_index == 0
        assert self.card(dict(background=2)).background_index == 2
        assert self.card(dict(background='ulcer')).background_index == 2
        assert self.card(dict(background=None)).background_index is None

    def test_of_the_checkpoint_unless_the_config_says_it(self):
        classes = (['sound', 'a'], [[0, 0, 0], [4, 5, 6]])
        given = dict(classes=classes, background='a')
        assert self.card(**given).background_index == 1
        assert self.card(dict(background=0), **given).background_index == 0

    def test_no_class(self):
        with pytest.raises(DeployError, match='metainfo of a set: background=7, exp'):
            self.card(dict(background=7))


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        (dict(classes=('sound', 'a', 'b', 'c')), 1),
        (dict(classes=('sound', 'a', 'b', 'c'), background=0), 0),
        (dict(classes=('sound', 'a', 'b', 'c'), background=None), 0),
        (dict(classes=('bg', 'a', 'b', 'c')), 0),
    ],
)
def test_unknown_background_is_told_once(monkeypatch, changes, said):
    lines = []
    monkeypatch.setattr(segmentor, 'print_log', lambda text, **_: lines.append(text))
    _, model = cases.make_network()
    network = cases.small_network()
    model = dataclasses.replace(model, checkpoint='best.pth', **changes)
    with DefectSegmentor((network, model), backend='torch', device='cpu') as run:
        run(np.zeros((64, 64, 3), np.uint8))
        run(np.zeros((64, 64, 3), np.uint8))
    assert len(lines) == said
    if said:
        assert lines[0].startswith('none of the classes sound, a, b, c is known as the')
        assert 'metainfo=dict(background=K) of the data sets, sound is 0' in lines[0]
        assert '\n' not in lines[0]
