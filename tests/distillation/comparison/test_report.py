"""Figures of hand-made results: to the last digit, in the table, files and plot."""

import csv
import doctest
import importlib
import io
import json
import math
from pathlib import Path

import cv2
import pytest

from fastsegformer_mm.distillation.comparison import Method
from fastsegformer_mm.distillation.comparison.plot import figure_of
from fastsegformer_mm.distillation.comparison.report import Report, cells, title_of
from fastsegformer_mm.distillation.comparison.summary import (
    about_equal_time,
    caveats,
    equal_time,
    summarise,
)

PAIR = dict(type='ConfigurableDistiller')
METHODS = [
    Method('alone', 'alone'),
    Method('alone_equal_time', 'alone, equal time'),
    Method('no_teacher@big', 'same images, no teacher', 'big'),
    Method('kl@big', 'KL', 'big', 'https://example.org/kl', 'a tenth', PAIR, [],
           'no_teacher@big'),
    Method('cwd', 'CWD', distiller=PAIR), Method('nfd', 'NFD', '', '', 'not run', PAIR)]
TEACHER = Method('teacher', 'teacher: b2')


def result(method, seed, score, seconds=None, peak=None, **more):
    return dict(dict(
        method=method, seed=seed, metrics=dict(mIoU=score, aAcc=90.0), iterations=300,
        max_iters=300, batch_size=8, step_seconds=seconds, peak_bytes=peak,
        machine=dict(device='EPYC', threads=2)), **more)


def results():
    return [
        result('kl@big', 2, 46.0, 0.5, 300 * 2**20),
        result('kl@big', 0, 41.0, 0.7, 2**30), result('kl@big', 1, 45.0, 0.6),
        result('alone', 0, 40.0, 0.2, 100 * 2**20),
        result('alone', 1, 42.0, 0.1, 2**20),
        result('alone', 2, 41.0, 0.4, 2**20),
        result('alone_equal_time', 0, 42.0, 0.2, iterations=900, max_iters=900),
        result('alone_equal_time', 2, 41.0, 0.2, iterations=700, max_iters=900),
        result('no_teacher@big', 1, 44.5), result('cwd', 5, 50.0)]


@pytest.fixture
def rows():
    trained = result('teacher', 0, 61.25, 1.5)
    return [*summarise([trained], [TEACHER]), *summarise(results(), METHODS)]


def test_mean_error_and_cost(rows):
    teacher, alone, equal, _, kl, cwd, nfd = rows
    assert alone.scores == {0: 40.0, 1: 42.0, 2: 41.0}
    # the deviation is 1, of three scores
    assert (alone.mean, alone.error) == (41.0, pytest.approx(1 / math.sqrt(3)))
    assert alone.gains == {}
    assert (alone.iterations, alone.step_seconds, alone.seconds) == (300, 0.2, 60)
    assert alone.peak_bytes == 100 * 2**20
    # stopped early once
    assert (equal.iterations, equal.seconds) == (800, 160)
    assert list(kl.scores.items()) == [(0, 41.0), (1, 45.0), (2, 46.0)]
    assert (kl.mean, kl.error) == (44.0, pytest.approx(math.sqrt(7 / 3)))
    assert kl.seconds == pytest.approx(180)
    assert kl.peak_bytes == 2**30
    assert (cwd.mean, cwd.error, cwd.step_seconds) == (50.0, None, None)
    assert (nfd.scores, nfd.mean, nfd.error) == ({}, None, None)
    assert (teacher.seconds, teacher.gains) == (450, {})


def test_gains_are_paired_by_seed(rows):
    _, _, equal, control, kl, cwd, _ = rows
    # 41 - 40, 45 - 42, 46 - 41: mean 3, deviation 2
    assert kl.gains['alone'] == (3.0, pytest.approx(2 / math.sqrt(3)), 3)
    # 41 - 42 and 46 - 41 with seeds 0 and 2: deviation sqrt(18), by sqrt(2)
    assert kl.gains['equal time'] == (2.0, pytest.approx(3.0), 2)
    # seed 1 alone
    assert kl.gains['same images'] == (0.5, None, 1)
    # no seed is that of a control; without images of its own that is 'alone'
    assert cwd.gains == dict.fromkeys(
        ('alone', 'equal time', 'same images'), (None, None, 0))
    assert equal.gains == {'alone': (1.0, 1.0, 2)}
    assert control.gains['alone'] == (2.5, None, 1)
    assert 'same images' not in control.gains
    assert summarise(results(), METHODS[2:])[1].gains['same images'] == (0.5, None, 1)


def test_cells(rows):
    texts = [cells(row) for row in rows]
    assert texts[1] == ['alone', '-', '41.00 ± 0.58', '-', '-', '-', '300', '0.200',
                        '60', '100', '0: 40.00, 1: 42.00, 2: 41.00']
    assert texts[4][:6] == ['KL', 'big', '44.00 ± 1.53', '+3.00 ± 1.15',
                            '+2.00 ± 3.00 (2 seeds)', '+0.50 (1 seed)']
    assert texts[6] == ['NFD', *['-'] * 10]


def test_equal_time():
    rows = summarise(results(), METHODS)
    # 300 steps of 0.6 s are 900 of 0.2 s: three schedules of 300, or two of 450
    assert equal_time(rows, 300) == dict(
        method='kl@big', seconds=pytest.approx(180), stretch=3.0)
    assert equal_time(rows, 450)['stretch'] == 2.0
    # a distillation that stopped before the student alone is no reason for less
    assert equal_time(rows, 3000)['stretch'] == 1.0
    # the one that is named, and the longest otherwise
    more = [*results(), result('cwd', 0, 50.0, 1.2)]
    rows = summarise(more, METHODS)
    assert equal_time(rows, 300)['method'] == 'cwd'
    assert equal_time(rows, 300)['stretch'] == 6.0
    named = equal_time(rows, 300, 'kl@big')
    assert named['stretch'] == 3.0
    text, = about_equal_time(named, rows)
    assert text == (
        'Alone, equal time: 3.00 times the schedule, for the 180 s of kl@big. cwd '
        'took longer: to give it their time, remove equal_time.json and use '
        '--rerun-changed.')
    assert about_equal_time({}, rows) == []
    # nothing was timed
    assert equal_time(rows, 300, 'nfd') == {}
    assert equal_time(summarise(results(), METHODS[1:]), 300) == {}


def test_caveats(rows):
    rows = rows[:2] + rows[3:4]  # the teacher, and two with other seeds
    others = 'Not all methods have been run with the same seeds.'
    gap = 'Teacher minus student alone: +20.25 points.'
    assert caveats(rows, results()) == [gap, others]
    rows = rows[:2]
    # trained here, for too few iterations to time them
    rows[0].mean, rows[0].seconds = 42.5, None
    assert len(caveats(rows, results())) == 2
    rows[0].iterations = None
    assert caveats(rows, results()) == [
        'Teacher minus student alone: +1.50 points.',
        'A teacher that is hardly better teaches little.',
        'Its checkpoint was given; its training has no cost here.']
    shared, = caveats([], [*results(), result('cwd', 1, 40.0, side_by_side=True)])
    assert shared.startswith('Runs were made side by side')
    other = result('cwd', 1, 40.0)
    other['machine'] = dict(device='EPYC', threads=4, torch='3')
    assert caveats([], [*results(), other]) == [
        'Runs differ in threads, torch: their seconds and memory do not compare.']
    longer = result('cwd', 1, 40.0, iterations=500, max_iters=600)
    assert caveats([], [*results(), longer]) == [
        'Budgets differ: [(300, 8), (600, 8)] (iterations, batch size).']
    # a teacher that was only tested has no cost
    assert caveats([], [*results(), dict(metrics={}, side_by_side=True)]) == []


def test_images(rows):
    own = dict(labelled=44, unlabelled=0, size=[112, 112], student_size=None, test=400)
    big = dict(own, size=[224, 200], student_size=112)
    more = dict(big, unlabelled=2161)
    found = [
        result('teacher', 0, 60.0, images=dict(own, size=[224, 224])),
        result('alone', 0, 40.0, images=own), result('cwd', 0, 40.0, images=own),
        result('kl@big', 0, 40.0, images=big), result('kl@big', 1, 40.0, images=more)]
    assert caveats(summarise([], METHODS), found) == [
        'Images of teacher: 44 labelled, 224x224; 400 to test.',
        'Images of alone: 44 labelled, 112x112; 400 to test.',
        'Images of big: 44 labelled, 224x200, for the student 112x112; 400 to test.',
        'Images of big: 44 labelled and 2161 unlabelled, 224x200, for the student '
        '112x112; 400 to test.']


def test_title():
    title = title_of(Path('a/b2.py'), Path('b0.py'), results())
    assert title == 'b0 taught by b2: 300 iterations of 8'
    longer = result('cwd', 1, 40.0, max_iters=600)
    assert title_of(Path('a/b2.py'), Path('b0.py'), [longer, *results()]) == (
        'b0 taught by b2')
    assert title_of(Path('b2.py'), Path('b0.py'), []) == 'b0 taught by b2'


@pytest.fixture
def report(rows):
    return Report('b0 taught by b2', rows, results(), ['Failed: cwd, seed 1.'])


def test_markdown(report):
    lines = report.markdown().split('\n')
    assert lines[0] == '### b0 taught by b2'
    assert lines[2] == (
        '| method | images | mIoU | over alone | over equal time | over same images | '
        'iterations | s/step | training s | peak MiB | by seed |')
    assert lines[3] == '| --- | --- |' + ' ---: |' * 9
    assert lines[4] == (
        '| teacher: b2 | - | 61.25 | - | - | - | 300 | 1.500 | 450 | - | 0: 61.25 |')
    assert lines[8].startswith(
        '| [KL](https://example.org/kl) | big | 44.00 ± 1.53 | +3.00 ± 1.15 | ')
    # what is not in the table needs no note
    assert lines[-4].startswith('* Mean ± standard error')
    assert lines[-3:] == ['* KL: a tenth.', '* Failed: cwd, seed 1.', '']


def test_files(report, tmp_path):
    files = report.write(tmp_path / 'out')
    assert [f.name for f in files] == [
        f'comparison.{s}' for s in ('json', 'csv', 'md', 'png')]
    content = json.loads(files[0].read_text())
    names = [row['method'] for row in content['methods']]
    assert names == ['teacher', *(method.name for method in METHODS)]
    kl = content['methods'][4]
    assert kl['scores'] == {'0': 41.0, '1': 45.0, '2': 46.0}
    assert kl['gains']['alone'] == [3.0, pytest.approx(2 / math.sqrt(3)), 3]
    assert content['runs'] == results()
    assert content['notes'] == report.lines()
    lines = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert len(lines) == 10
    assert lines[0] == dict(
        method='kl@big', seed='2', mIoU='46.0', aAcc='90.0', max_iters='300',
        iterations='300', batch_size='8', step_seconds='0.5', peak_bytes='314572800')
    assert lines[9]['step_seconds'] == ''
    assert files[2].read_text() == report.markdown()
    picture = cv2.imread(str(files[3]))
    height, width, _ = picture.shape
    assert width > height > 300
    # drawn on, in more colours than grey
    assert (picture.max(2) - picture.min(2) > 50).sum() > 1000


def test_plot(rows):
    figure = figure_of([rows[1], *rows[4:]], 'b0 taught by b2', teacher=61.5)
    scores, seconds, memory = figure.axes
    points = [tuple(p) for c in scores.collections if hasattr(c, 'get_sizes')
              for p in c.get_offsets().tolist() if len(c.get_sizes())]
    assert sorted(points) == [
        (40.0, 0.0), (41.0, 0.0), (41.0, 1.0), (42.0, 0.0), (45.0, 1.0), (46.0, 1.0),
        (50.0, 2.0)]
    means = [c.lines[0].get_xdata()[0] for c in scores.containers]
    assert means == [41.0, 44.0, 50.0]
    labels = [t.get_text() for t in scores.get_yticklabels()]
    assert labels == ['alone', 'KL, big', 'CWD', 'NFD']
    widths = [patch.get_width() for patch in seconds.patches]
    assert widths == pytest.approx([0.2, 0.6])
    assert [patch.get_width() for patch in memory.patches] == [100, 1024]
    across = {line.get_label(): line.get_xdata()[0] for line in scores.lines
              if not line.get_label().startswith('_')}
    assert across == dict(alone=41.0, teacher=61.5)
    assert figure.get_suptitle() == 'b0 taught by b2'
    nothing = figure_of(summarise([], METHODS), 'nothing yet')
    assert nothing.axes[0].get_legend() is None


@pytest.mark.parametrize('name', [
    'distillation.comparison.plot', 'distillation.comparison.report',
    'distillation.comparison.run_config', 'distillation.comparison.summary',
    'utils.peak_memory'])
def test_examples(name):
    module = importlib.import_module(f'fastsegformer_mm.{name}')
    found = doctest.testmod(module)
    assert found.attempted >= 1
    assert found.failed == 0
