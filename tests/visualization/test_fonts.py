"""Class names in characters that DejaVu Sans does not have."""

import doctest
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fastsegformer_mm.visualization import fonts
from fastsegformer_mm.visualization.evaluation_plots import (
    class_bar_figure,
    confusion_matrix_figure,
)

NAMES = ['背景', '锈蚀 rust', 'wind scarring', 'пятно']
CACHED = (fonts.installed_fonts, fonts.font_of, fonts._advise, fonts.pen_font)


@pytest.fixture
def forget():
    """What is known of the machine's fonts is forgotten before and after."""
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


@pytest.fixture
def no_others(forget, monkeypatch):
    """A machine with DejaVu Sans alone; gives the lines of the log."""
    lines = []
    monkeypatch.setattr(fonts, 'OTHERS', ())
    monkeypatch.setattr(fonts.font_manager, 'findSystemFonts', lambda: [])
    monkeypatch.setattr(fonts, 'print_log', lambda text, *_, **__: lines.append(text))
    return lines


def entry(name, fname, weight=400, style='normal'):
    return SimpleNamespace(name=name, fname=fname, weight=weight, style=style)


def texts(figure):
    return [text.get_text() for text in figure.findobj(fonts.Text)]


def test_fonts_that_are_there_in_the_order_of_choice(forget, monkeypatch):
    manager = SimpleNamespace(ttflist=[
        entry('SimHei', 'hei.ttf'), entry('DejaVu Sans', 'other/dejavu.ttf'),
        entry('Noto Sans CJK JP', 'noto-bold.ttc', weight=700),
        entry('Noto Sans CJK JP', 'noto.ttc'), entry('Comic Sans MS', 'comic.ttf')])
    monkeypatch.setattr(fonts.font_manager, 'fontManager', manager)
    found = fonts.installed_fonts()
    assert list(found) == ['DejaVu Sans', 'Noto Sans CJK JP', 'SimHei']
    assert list(found.values())[1:] == ['noto.ttc', 'hei.ttf']
    # the one that matplotlib brings along, not that of the system
    assert found['DejaVu Sans'].endswith('DejaVuSans.ttf')


def test_a_font_installed_after_matplotlib_made_its_list(forget, monkeypatch):
    added = []

    def addfont(path):
        if path == 'broken.ttf':
            raise RuntimeError('no font')
        added.append(path)
        manager.ttflist.append(entry('WenQuanYi Micro Hei', path))

    manager = SimpleNamespace(
        ttflist=[entry('DejaVu Sans', 'dejavu.ttf')], addfont=addfont)
    monkeypatch.setattr(fonts.font_manager, 'fontManager', manager)
    monkeypatch.setattr(fonts.font_manager, 'findSystemFonts',
                        lambda: ['broken.ttf', 'wqy.ttc'])
    assert list(fonts.installed_fonts()) == ['DejaVu Sans', 'WenQuanYi Micro Hei']
    assert added == ['wqy.ttc']


def test_numbers_where_no_font_has_the_characters(no_others):
    shown = ['class 0', 'rust (class 1)', 'wind scarring', 'пятно']
    for _ in range(2):
        assert fonts.drawable_names(NAMES) == shown
    # said once
    assert len(no_others) == 1
    assert no_others[0].startswith(
        'no font on this machine has all characters of 背景, 锈蚀 rust: pictures have')
    assert 'fonts-noto-cjk' in no_others[0]
    for figure in (confusion_matrix_figure(np.eye(4, dtype=int), NAMES),
                   class_bar_figure([1., 2., 3., 4.], NAMES, 'IoU')):
        assert set(shown) <= set(texts(figure))
        assert not set(NAMES[:2]) & set(texts(figure))
    assert fonts.runs('a背') == [('a?', 'DejaVu Sans')]


def test_no_squares_without_a_font(no_others, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        confusion_matrix_figure(np.eye(4, dtype=int), NAMES).savefig(tmp_path / 'a.png')


def test_chinese_is_drawn_where_a_font_has_it(forget, tmp_path):
    if fonts.font_of('背') is None:
        pytest.skip('no font with Chinese characters on this machine')
    assert fonts.drawable_names(NAMES) == NAMES
    with warnings.catch_warnings():
        # matplotlib warns of a glyph that is missing
        warnings.simplefilter('error')
        figure = confusion_matrix_figure(np.eye(4, dtype=int), NAMES)
        assert set(NAMES) <= set(texts(figure))
        figure.savefig(tmp_path / 'matrix.png')
        figure = class_bar_figure([1., 2., 3., 4.], NAMES, 'IoU', 2., 'mean of 背景')
        figure.savefig(tmp_path / 'bars.png')
    drawn = []
    for word in ('背景', '划痕'):
        picture = Image.new('L', (80, 30), 255)
        fonts.draw_text(ImageDraw.Draw(picture), (2, 2), word, 20, 0)
        drawn.append(np.asarray(picture))
    # squares would be alike
    assert (drawn[0] != drawn[1]).sum() > 50
    parts = fonts.runs('a背b')
    assert [part for part, _ in parts] == ['a', '背', 'b']
    assert parts[1][1] in fonts.OTHERS
    assert fonts.text_length('a背b', 20) == pytest.approx(
        fonts.text_length('ab', 20) + fonts.text_length('背', 20), abs=1)


def test_latin_text_is_as_pillow_draws_it():
    first, second = (Image.new('L', (120, 30), 255) for _ in range(2))
    fonts.draw_text(ImageDraw.Draw(first), (3, 4), 'rust 12.5 %', 14, 0, bold=True)
    ImageDraw.Draw(second).text(
        (3, 4), 'rust 12.5 %', fill=0, font=fonts.pen_font(14, bold=True))
    assert (np.asarray(first) == np.asarray(second)).all()


def test_docstring_examples_run():
    assert doctest.testmod(fonts) == (0, 2)
