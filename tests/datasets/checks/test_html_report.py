import ast
import base64
import doctest
import importlib
import io
import itertools
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastsegformer_mm.datasets import checks
from fastsegformer_mm.datasets.checks.html_report import write_html
from fastsegformer_mm.datasets.checks.html_report_words import KINDS
from fastsegformer_mm.datasets.checks.report import (
    DatasetReport,
    Problem,
    SplitSummary,
)

CLASSES = ('background', 'rust', 'dent <b>')
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 0, 100]]
EVIL = '<script>alert(1)</script>.png'.replace('/', '\u2215')


class Page(HTMLParser):
    """The tags of a page, its text, and the text within each element with an id."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.ids = [], [], {}
        self.text = ''
        self.feed(Path(path).read_text(encoding='utf-8'))
        self.close()
        assert self.open == []
        self.text = ' '.join(self.text.split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in ('meta', 'img', 'br'):
            self.open.append((tag, attrs.get('id')))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if not any(tag == 'style' for tag, _ in self.open):
            self.text += f' {data}'
        for _, name in self.open:
            if name:
                words = f'{self.ids.get(name, "")} {data}'
                self.ids[name] = ' '.join(words.split())

    def pictures(self):
        """Format, mode and pixels of every inlined image."""
        for tag, attrs in self.tags:
            if tag == 'img':
                head, data = attrs['src'].split(',', 1)
                image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
                assert head == f'data:image/{image.format.lower()};base64'
                yield attrs['alt'], np.asarray(image.convert('RGB'))

    def styles(self, name):
        return [attrs.get('style') for _, attrs in self.tags
                if attrs.get('class') == name]


@pytest.fixture
def folder(tmp_path):
    """Four pairs; a pattern of a name that is an attack, and one broken file."""
    for name in ('img', 'ann'):
        (tmp_path / name).mkdir()
    for name in ('a.png', 'b.png', EVIL, 'broken.png'):
        Image.new('RGB', (40, 20), (100, 110, 120)).save(tmp_path / 'img' / name)
        label = np.zeros((20, 40), np.uint8)
        label[4:16, 4:20] = 1
        label[:, 30:] = 255
        label[4:12, 22:30] = 7
        Image.fromarray(label).save(tmp_path / 'ann' / name)
    broken = tmp_path / 'img' / 'broken.png'
    broken.write_bytes(broken.read_bytes()[:60])
    return tmp_path


def summary(folder, split='train', **kwargs):
    pair = (str(folder / 'img' / 'a.png'), str(folder / 'ann' / 'a.png'))
    return SplitSummary(**{**dict(
        split=split, images=1234, labels=1233, pairs=1232, checked=1000,
        classes=CLASSES, palette=PALETTE, class_pixels=np.array([7000, 2999, 0]),
        class_images=np.array([1000, 250, 0]), ignored_pixels=1,
        image_sizes=Counter({(20, 40): 1200, (8, 9): 30, (1, 2): 3, (3, 3): 1}),
        samples=[pair]), **kwargs})


def problem(folder, name='a.png', kind='size-differs', severity='error', **kwargs):
    return Problem(**{**dict(
        kind=kind, severity=severity, split='train', file=str(folder / 'img' / name),
        value='10x10', expected='20x40', way_out='export it again'), **kwargs})


def page(folder, *problems, splits=None, examples=6, seconds=12.345):
    splits = {'train': summary(folder)} if splits is None else splits
    report = DatasetReport('configs/my.py', splits, list(problems), seconds)
    path = write_html(report, folder / 'new' / 'report.html', examples)
    assert path == folder / 'new' / 'report.html'
    return Page(path)


def test_headline_says_verdict_counts_and_time(folder):
    bad = page(folder, problem(folder), problem(folder, 'b.png'),
               problem(folder, kind='duplicate', severity='warning'))
    assert bad.ids['verdict'] == (
        'Not ready for training 2 errors and 1 warning of 2 kinds; 1,000 pairs of 1 '
        'split looked at in 12.3 s.')
    assert 'Data check of my.py configs/my.py' in bad.ids['top']
    look = page(folder, problem(folder, kind='duplicate', severity='warning'))
    assert look.ids['verdict'].startswith(
        'Ready for training, but look at the warnings 0 errors and 1 warning of 1 kind')
    good = page(folder)
    assert good.ids['verdict'].startswith('Ready for training 0 errors and 0 warnings')
    assert good.ids['problems'] == 'Problems None was found.'
    nothing = page(folder, splits={})
    assert nothing.ids['verdict'].startswith('Nothing was checked')
    assert 'There are none.' in nothing.ids['samples']


def test_splits_are_counted(folder):
    splits = {'train': summary(folder), 'test': summary(
        folder, 'test', images=5, labels=6, pairs=7, checked=8,
        image_sizes=Counter({(20, 40): 5}))}
    found = page(folder, splits=splits)
    assert found.ids['splits'].endswith(
        'train 1,234 1,233 1,232 1,000 20x40 (1,200), 8x9 (30), 1x2 (3), '
        '1 other size test 5 6 7 8 20x40 (5)')
    assert '1,008 pairs of 2 splits' in found.ids['verdict']


def test_class_shares_are_bars_in_the_colours_of_the_classes(folder):
    found = page(folder)
    # of all pixels, the ignored one included; the colours at full brightness
    assert found.styles('bar') == ['width:70.000%;background:rgb(0, 0, 0)',
                                   'width:29.990%;background:rgb(255, 0, 0)']
    assert found.ids['classes'].endswith(
        'train background 70.00 % in 1,000 labels rust 29.99 % in 250 labels dent <b> '
        'never occurs 0 % in 0 labels ignored 0.01 %')
    few = page(folder, splits={'train': summary(
        folder, class_pixels=np.array([10**7, 1, 0]), ignored_pixels=0,
        class_images=np.array([10, 1, 0]))})
    assert 'rust < 0.01 % in 1 label dent' in few.ids['classes']
    assert 'ignored' not in few.ids['classes']
    unread = page(folder, splits={'train': summary(
        folder, class_pixels=None, class_images=None, ignored_pixels=0)})
    assert unread.ids['classes'].endswith('train No label was looked at.')


def test_classes_without_enough_colours_are_grey(folder):
    found = page(folder, splits={'train': summary(folder, palette=PALETTE[:1])})
    assert found.styles('bar')[1] == 'width:29.990%;background:rgb(128, 128, 128)'


def test_problems_are_grouped_with_explanation_and_way_out(folder):
    found = page(
        folder, problem(folder, kind='duplicate', severity='warning', split='test'),
        problem(folder), problem(folder, 'b.png'), problem(folder, severity='warning'),
        problem(folder, kind='new-kind', severity='warning', file='model.head',
                split=''))
    # errors come first, kinds that have no words keep their name
    assert found.ids['kind-1'].startswith(
        'Sizes differ 2 errors 1 warning train 3 ' + KINDS['size-differs'][1]
        + ' Way out: export it again a.png')
    assert found.ids['kind-2'].startswith('Same picture twice 1 warning test 1')
    assert found.ids['kind-3'] == (
        'New kind 1 warning no split 1 Way out: export it again model.head found 10x10 '
        'expected 20x40')
    links = [a['href'] for tag, a in found.tags if tag == 'a']
    assert links[:7] == ['#splits', '#classes', '#problems', '#samples', '#kind-1',
                         '#kind-2', '#kind-3']
    assert {link[1:] for link in links} <= set(found.ids)


def test_ways_out_of_single_files_stand_beside_them(folder):
    found = page(folder, *(problem(folder, way_out=f'do {k}') for k in range(4)))
    assert 'Way out:' not in found.ids['kind-1']
    assert 'expected 20x40 way out do 2' in found.ids['kind-1']


def test_examples_are_limited_and_the_others_listed(folder, monkeypatch):
    many = [problem(folder, f'{k}.png', value=f'v{k}') for k in range(8)]
    found = page(folder, *many, examples=2)
    assert found.ids['kind-1'].count('found v') == 2
    assert '6 more' in found.ids['kind-1']
    assert f'{folder}/img/7.png : v7' in found.ids['kind-1']
    module = importlib.import_module(write_html.__module__)
    monkeypatch.setattr(module, 'MOST_NAMES', 4)
    found = page(folder, *many, examples=2)
    assert '6.png : v6' not in found.ids['kind-1']
    assert 'and 2 that are not listed here' in found.ids['kind-1']


def test_thumbnails_show_image_and_label(folder):
    found = page(folder, problem(folder, 'b.png'),
                 problem(folder, file=str(folder / 'ann' / 'b.png'), kind='label'))
    pictures = list(found.pictures())
    assert [name for name, _ in pictures] == ['b.png'] * 4 + ['a.png']
    for image, label in ((pictures[0][1], pictures[1][1]),
                         (pictures[2][1], pictures[3][1])):
        assert image.shape == (20, 40, 3)
        assert np.abs(image.astype(int) - (100, 110, 120)).max() <= 2
        assert (label[4:16, 4:20] == (255, 0, 0)).all()
        assert (label[:4, :20] == 0).all()
        # ignored pixels are hatched, the value 7 is chequered
        assert {tuple(c) for c in label[:, 30:].reshape(-1, 3)} == {
            (255, 0, 255), (160, 160, 160)}
        assert {tuple(c) for c in label[4:12, 22:30].reshape(-1, 3)} == {
            (255, 255, 0), (0, 0, 0)}
    assert '20x40 L, values 0, 1, 7, 255' in found.ids['kind-1']
    assert '20x40 RGB' in found.ids['kind-1']


def test_large_files_are_reduced(folder):
    Image.new('RGB', (900, 600)).save(folder / 'img' / 'a.png')
    Image.new('L', (900, 600), 1).save(folder / 'ann' / 'a.png')
    found = page(folder, problem(folder))
    shapes = [pixels.shape for _, pixels in found.pictures()]
    assert shapes == [(107, 160, 3), (107, 160, 3), (149, 224, 3)]


def test_double_that_a_problem_names_is_shown(folder):
    found = page(folder, problem(
        folder, kind='duplicate-other-label', value=f'the same picture as '
        f'{folder / "img" / "a.png"}, with another label', file=str(
            folder / 'img' / 'b.png')))
    assert [name for name, _ in found.pictures()][:4] == ['b.png'] * 2 + ['a.png'] * 2


def test_names_are_escaped(folder):
    found = page(folder, problem(folder, EVIL, value='<i>&', way_out='"><img src=x>'))
    assert not any(tag in ('script', 'i', 'b') for tag, _ in found.tags)
    assert all(a['src'].startswith('data:') for t, a in found.tags if t == 'img')
    assert f'{EVIL} {folder}/img/{EVIL} found <i>& expected' in found.text
    assert 'Way out: "><img src=x>' in found.text
    assert [name for name, _ in found.pictures()][:2] == [EVIL] * 2


def test_nothing_is_fetched(folder):
    found = page(folder, problem(folder))
    text = (folder / 'new' / 'report.html').read_text(encoding='utf-8')
    assert not any(tag in ('script', 'link', 'iframe', 'object') for tag, _ in
                   found.tags)
    assert 'http' not in text
    assert '@import' not in text
    assert 'url(' not in text
    assert 'prefers-color-scheme: dark' in text
    assert ('viewport', 'width=device-width, initial-scale=1') in [
        (a.get('name'), a.get('content')) for t, a in found.tags if t == 'meta']


def test_broken_files_do_not_break_the_report(folder):
    (folder / 'img' / 'text.png').write_text('<html>not found</html>')
    (folder / 'img' / 'empty.png').write_bytes(b'')
    found = page(
        folder, *(problem(folder, name) for name in (
            'broken.png', 'text.png', 'empty.png', 'absent.png')),
        splits={'train': summary(folder, samples=[
            (str(folder / 'img' / 'broken.png'), str(folder / 'ann' / 'broken.png')),
            (str(folder / 'img' / 'a.png'), str(folder / 'ann' / 'gone.png'))])})
    # the label of the broken image is there
    assert [name for name, _ in found.pictures()] == ['broken.png']
    kind = found.ids['kind-1']
    assert 'cannot be read' in kind
    assert kind.count('not an image') == 2
    # the absent image, and the labels of all but one
    assert kind.count('no such file') == 4
    assert 'cannot be read' in found.ids['samples']
    assert 'no such file gone.png' in found.ids['samples']


@pytest.mark.parametrize(('mode', 'bright'), [
    ('CMYK', None), ('I;16', True), ('RGBA', None), ('L', None), ('P', None),
    ('F', True)])
def test_unusual_images_have_thumbnails(folder, mode, bright):
    if mode in ('I;16', 'F'):
        ramp = np.tile(np.arange(40) * 50, (20, 1))
        image = Image.fromarray(ramp.astype(np.uint16 if mode == 'I;16' else 'f4'))
    else:
        image = Image.new('RGB', (40, 20), (100, 110, 120)).convert(mode)
    name = 'x.tif'
    image.save(folder / 'img' / name)
    found = page(folder, problem(folder, name))
    (shown, pixels), *_ = found.pictures()
    assert (shown, pixels.shape) == (name, (20, 40, 3))
    assert f'20x40 {mode}' in found.ids['kind-1']
    if bright:
        # stretched over all greys
        assert pixels[:, -1].min() > 245
        assert abs(pixels[:, 20].mean() - 255 * 20 / 39) < 6
        assert pixels[:, 0].max() < 10
    else:
        assert abs(int(pixels.mean()) - 110) < 8


def test_masks_in_colours_are_shown_as_they_are(folder):
    Image.new('RGB', (40, 20), (12, 34, 56)).save(folder / 'ann' / 'b.png')
    found = page(folder, problem(folder, 'b.png'))
    assert (dict(list(found.pictures())[1:2])['b.png'] == (12, 34, 56)).all()


def test_samples_have_their_label_laid_over(folder):
    found = page(folder)
    (name, pixels), = found.pictures()
    assert name == 'a.png'
    assert pixels.shape == (112, 224, 3)
    # five to six pixels of the sheet stand for one; JPEG is near enough
    tint = np.rint(0.65 * np.array([100, 110, 120]) + 0.35 * np.array([255, 0, 0]))
    assert np.abs(pixels[40:70, 40:90].mean(axis=(0, 1)) - tint).max() < 4
    assert np.abs(pixels[:15, 30:100].mean(axis=(0, 1)) - (100, 110, 120)).max() < 4
    assert pixels[30:80, 180:215, 1].std() > 20
    assert found.ids['samples'].endswith(
        'train background (not tinted) rust dent <b> ignored a.png background, rust')


def test_values_are_drawn_as_the_classes_that_they_become(folder):
    """1 becomes class 0 by reduce_zero_label, and then class 2 by the map."""
    changed = summary(folder, reduce_zero_label=True, label_map={0: 2})
    assert changed.classes_of(np.array([0, 1, 3, 255])).tolist() == [255, 2, 2, 255]
    found = page(folder, problem(folder, 'b.png'), splits={'train': changed})
    _, (_, mask), (_, sample) = found.pictures()
    assert (mask[4:16, 4:20] == (0, 0, 255)).all()
    assert {tuple(c) for c in mask[:4, :20].reshape(-1, 3)} == {
        (255, 0, 255), (160, 160, 160)}
    assert sample[60, 65, 2] > sample[60, 65, 0] + 50
    assert '20x40 L, values 0, 1, 7, 255' in found.ids['kind-1']


def test_every_kind_of_problem_has_words():
    # a kind is the word that stands before a severity
    kinds = set()
    for file in Path(checks.__file__).parent.glob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            values = node.args if isinstance(node, ast.Call) else getattr(
                node, 'elts', ())
            for kind, severity in itertools.pairwise(values):
                words = {n.value for n in ast.walk(severity)
                         if isinstance(n, ast.Constant)}
                if words & {'error', 'warning'} and isinstance(kind, ast.Constant):
                    kinds.add(str(kind.value))
    kinds = {kind for kind in kinds if re.fullmatch('[a-z0-9]+(-[a-z0-9]+)*', kind)}
    kinds -= {'error', 'test', 'val'}
    assert {'size-differs', 'label-out-of-range', 'duplicate'} <= kinds
    assert kinds - set(KINDS) == set()
    assert all(heading and text.endswith('.') for heading, text in KINDS.values())


@pytest.mark.parametrize(('name', 'examples'), [
    ('html_report', 3), ('html_report_pictures', 6)])
def test_docstring_examples_run(name, examples):
    module = importlib.import_module(f'fastsegformer_mm.datasets.checks.{name}')
    result = doctest.testmod(module)
    assert (result.attempted, result.failed) == (examples, 0)
