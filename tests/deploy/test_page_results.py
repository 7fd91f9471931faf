import base64
import csv
import io
import runpy
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.model_card import ModelCard
from fastsegformer_mm.deploy.page import table
from fastsegformer_mm.deploy.page.limits import Limits
from fastsegformer_mm.deploy.page.models import Models, ModelSource, offered
from fastsegformer_mm.deploy.page.pictures import shown_frame, shown_mask
from fastsegformer_mm.deploy.page.results import (
    VideoResult,
    card_html,
    picture_result,
)
from fastsegformer_mm.deploy.page.uploads import Upload

CASE = Path(__file__).with_name('page_case.py')
case = SimpleNamespace(**runpy.run_path(str(CASE)))
CARD = case.Thresholds().card
FRAME = case.frame()


def test_mask_is_laid_over_as_the_overlay_draws():
    found = case.Thresholds().segment(FRAME)
    laid = Image.open(io.BytesIO(shown_mask(found.mask, CARD))).convert('RGBA')
    colours, alpha = np.split(np.array(laid), [3], axis=2)
    for opacity in (0.25, 1.0):
        weight = opacity * alpha / 255
        blend = (1 - weight) * FRAME + weight * colours[..., ::-1]
        drawn = found.overlay(FRAME, opacity)
        assert np.abs(blend - drawn).max() <= 0.5
    assert (drawn != FRAME).any()


def test_large_pictures_are_shown_smaller():
    frame = np.zeros((100, 2600, 3), np.uint8)
    frame[:, 1300:] = 255
    shown = cv2.imdecode(np.frombuffer(shown_frame(frame), np.uint8), cv2.IMREAD_COLOR)
    assert shown.shape == (49, 1280, 3)
    # between classes 0 and 2 there is no class 1
    mask = np.zeros((100, 2600), np.uint8)
    mask[:, 1300::3] = 2
    laid = np.array(Image.open(io.BytesIO(shown_mask(mask, CARD))))
    assert laid.shape == (49, 1280)
    assert set(np.unique(laid)) == {0, 2}
    assert not laid[:, :640].any()


def test_table_of_a_picture():
    record = {
        'height': 10,
        'width': 100,
        'classes': {
            'ulcer': dict(pixels=0, share=0.0, regions=0, largest=0, boxes=()),
            'wind scarring': dict(
                pixels=250, share=0.25, regions=3, largest=200, boxes=((1, 2, 3, 4),)
            ),
        },
    }
    scar, ulcer, background = table.picture_rows(record, CARD)
    assert scar.cells == ('25.00 %', '250', '3', '200', '3 x 4 at 1, 2')
    assert (scar.colour, scar.boxes) == ('rgb(255, 0, 0)', ((1, 2, 3, 4),))
    assert ulcer.cells == ('0 %', '0', '0', '0', '')
    assert background.background
    assert background.cells == ('75.00 %', '750', '', '', '')


def test_table_of_a_video():
    def frame(*figures):
        keys = ('pixels', 'share', 'regions', 'largest')
        return {'classes': {n: dict(zip(keys, f)) for n, *f in figures}}

    none = (0, 0.0, 0, 0)
    records = [
        frame(('ulcer', 10, 0.1, 2, 9), ('wind scarring', *none)),
        frame(('ulcer', 50, 0.5, 1, 50), ('wind scarring', *none)),
    ]
    ulcer, scar, background = table.video_rows(records, CARD)
    assert ulcer.cells == ('30.00 %', '50.00 %', '2 of 2', '2', '50')
    assert scar.cells == ('0 %', '0 %', '0 of 2', '0', '0')
    assert background.cells == ('70.00 %', '90.00 %', '', '', '')


def test_classes_without_a_colour_and_without_background():
    card = ModelCard('m', ('sound', 'rust'), ((0, 128, 0),), (8, 8))
    assert table.legend(card) == [
        ('sound', 'rgb(0, 255, 0)'),
        ('rust', 'rgb(128, 128, 128)'),
    ]
    assert table.legend(CARD)[0] == ('background', '')


def files(html):
    """{name: content} of what a result offers for download."""
    out = {}
    for part in html.split('download="')[1:]:
        name, rest = part.split('"', 1)
        out[name] = base64.b64decode(rest.split('base64,')[1].split('"')[0])
    return out


def test_picture():
    upload = Upload('=a"<b>.png', case.png(FRAME))
    models = case.models()
    html = picture_result(upload, models, 'thresholds', 'fp32', Limits())
    assert '<b>' not in html
    assert '=a&#34;&lt;b&gt;.png' in html
    assert 'Found: ulcer 4.17 %, wind scarring 0.67 %' in html
    assert html.count('<rect') == 3
    got = files(html)
    mask = Image.open(io.BytesIO(got['=a&#34;&lt;b&gt;_mask.png']))
    np.testing.assert_array_equal(mask, case.Thresholds().segment(FRAME).mask)
    rows = list(csv.DictReader(io.StringIO(got['=a&#34;&lt;b&gt;.csv'].decode())))
    assert [row['class'] for row in rows] == ['ulcer', 'wind scarring']
    assert rows[0]['source'] == '\'=a"<b>.png'
    assert (rows[1]['pixels'], rows[1]['regions']) == ('32', '2')
    assert rows[1]['boxes'] == '10 40 4 4;60 50 4 4'


def test_nothing_found():
    models = case.models()
    upload = Upload('a.png', case.png(np.zeros((8, 8, 3), np.uint8)))
    html = picture_result(upload, models, 'thresholds', 'fp32', Limits())
    assert 'No defect found' in html
    assert '<rect' not in html


@pytest.mark.parametrize('shape', [(1, 1), (1, 9), (4, 1), (70_000, 3)])
def test_odd_sizes(shape):
    data = case.png(np.full((*shape, 3), 250, np.uint8))
    html = picture_result(
        Upload('a.png', data), case.models(), 'thresholds', 'fp32', Limits()
    )
    mask = Image.open(io.BytesIO(files(html)['a_mask.png']))
    assert mask.size == shape[::-1]


def test_video_is_painted_again_without_the_network():
    frames = [case.frame(shift) for shift in (0, 20, 40)]
    upload = Upload('a.webm', case.video(frames, 5))
    built, told = [], []
    models = case.models(built=built)
    result = VideoResult.of(
        upload, models, 'thresholds', 'fp32', Limits(), lambda *done: told.append(done)
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert result.rate == pytest.approx(5)
    assert [record['seconds'] for record in result.records] == [0, 0.2, 0.4]
    painted = {}
    for opacity, boxes in ((0, False), (1, False), (0, True)):
        content = result.painted(Limits(), opacity, boxes)
        path = Upload('out.webm', content)
        with_again = VideoResult.of(
            path, case.models(), 'thresholds', 'fp32', Limits(), lambda *_: None
        )
        assert len(with_again.records) == 3
        painted[opacity, boxes] = first_frame(content)
    assert len(built[0].frames) == 3
    plain, full, boxed = painted.values()
    wind = (slice(41, 43), slice(11, 13))
    assert np.abs(plain[wind].astype(int) - (40, 150, 40)).max() < 40
    # red instead of the dull green
    assert full[wind][..., 2].min() > 180
    assert full[wind][..., 1].max() < 80
    # the background is as it was
    assert np.abs(full[28:36].astype(int) - 40).max() < 30
    difference = np.abs(boxed.astype(int) - plain).max(-1)
    assert difference[40, 10:14].min() > 60
    assert difference[25:35].max() < 40


def first_frame(content):
    from fastsegformer_mm.deploy.page.video import VideoReader

    with VideoReader(Upload('a.webm', content), Limits()) as reader:
        return next(iter(reader))[1]


def test_video_html():
    upload = Upload('a.webm', case.video([FRAME, FRAME[::-1]], 10))
    result = VideoResult.of(
        upload, case.models(), 'thresholds', 'fp32', Limits(), lambda *_: None
    )
    html = result.html(Limits(), 0.5, False)
    assert '2 frames, 0.2 s' in html
    assert '10.0 ms' in html
    got = files(html)
    assert first_frame(got['a_overlay.webm']).shape == FRAME.shape
    rows = list(csv.DictReader(io.StringIO(got['a.csv'].decode())))
    assert [(r['frame'], r['seconds'], r['class']) for r in rows] == [
        (k, s, c)
        for k, s in (('0', '0.0'), ('1', '0.1'))
        for c in ('ulcer', 'wind scarring')
    ]


def test_card():
    html = card_html(CARD, 'openvino', 'bf16')
    assert 'bf16 on openvino' in html
    assert 'input 48 &times; 64 pixels' in html
    assert 'weights best.pth (0123abcd)' in html
    assert html.count('<li>') == 3
    assert 'Random weights' not in html
    assert 'Random weights.' in card_html(case.Thresholds(checkpoint='').card, 'b', 'p')


def test_models_are_built_once_and_when_needed():
    built = []
    models = case.models('first', 'second', built=built)
    assert models.names == ['first', 'second']
    assert models.precisions('first') == ['fp32', 'bf16']
    for precision in ('fp32', 'bf16', 'bf16'):
        models.segment('first', precision, FRAME)
    assert [(m.card.name, m.backend.precision) for m in built] == [
        ('first', 'fp32'),
        ('second', 'fp32'),
        ('first', 'bf16'),
    ]
    assert [len(m.frames) for m in built] == [1, 0, 2]
    assert models.describe('first', 'bf16')[1:] == ('torch', 'bf16')


def test_models_that_are_not_there():
    models = case.models()
    with pytest.raises(DeployError, match="no model 'other'; choose one of the list"):
        models.segment('other', 'fp32', FRAME)
    with pytest.raises(DeployError, match="in 'int8'; choose one of fp32, bf16"):
        models.segment('thresholds', 'int8', FRAME)
    with pytest.raises(DeployError, match='a second model'):
        case.models('same', 'same', 'same')
    with pytest.raises(DeployError, match='no model was given'):
        Models([])


def test_two_models_of_one_name():
    def load(source, precision):
        return case.Thresholds(name='same')

    sources = [ModelSource('c.py', 'a.pth'), ModelSource('c.py', 'b.pth')]
    assert Models(sources, load=load).names == ['same', 'same (b.pth)']


def test_model_that_fails_is_told_and_goes_on(caplog):
    models = case.models()
    with pytest.raises(DeployError, match=r'failed on this one \(RuntimeError\)'):
        models.segment('thresholds', 'fp32', np.full((4, 4, 3), 255, np.uint8))
    assert 'out of memory' in caplog.text
    assert models.segment('thresholds', 'fp32', FRAME).mask.any()


@pytest.mark.parametrize(
    ('artefact', 'precision', 'able', 'expected'),
    [
        ('fp32', 'fp32', ['fp32', 'bf16'], ['fp32', 'bf16']),
        ('fp32', 'fp16', ['fp32', 'bf16', 'fp16'], ['fp16', 'fp32', 'bf16']),
        ('int8', 'int8', ['fp32', 'bf16'], ['int8']),
        ('fp32', 'fp32', ['fp32'], ['fp32']),
    ],
)
def test_precisions(artefact, precision, able, expected):
    backend = SimpleNamespace(precision=precision, precisions=lambda: able)
    card = SimpleNamespace(precision=artefact)
    assert offered(SimpleNamespace(backend=backend, card=card)) == expected
