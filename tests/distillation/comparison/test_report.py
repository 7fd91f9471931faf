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
from rich.console import Console

from fastsegformer_mm.distillation.comparison import Method
from fastsegformer_mm.distillation.comparison.plot import figure_of
from fastsegformer_mm.distillation.comparison.report import Report, cells, title_of
from fastsegformer_mm.distillation.comparison.summary import caveats, summarise

METHODS = [
    Method('alone', 'alone'),
    Method('kl', 'KL', reference='https://example.org/kl', note='a tenth'),
    Method('cwd'), Method('nfd', 'NFD', note='not run')]


def result(method, seed, score, seconds=None, peak=None, **more):
    return dict(
        method=method, seed=seed, metrics=dict(mIoU=score, aAcc=90.0), iterations=300,
        batch_size=8, step_seconds=seconds, peak_bytes=peak,
        machine=dict(device='EPYC', threads=2), **more)


def results():
    return [
        result('kl', 2, 46.0, 0.5, 300 * 2**20), result('kl', 0, 41.0, 0.7, 2**30),
        result('alone', 0, 40.0, 0.2, 100 * 2**20),
        result('alone', 1, 42.0, 0.1, 2**20),
        result('alone', 2, 41.0, 0.4, 2**20), result('cwd', 5, 50.0)]


@pytest.fixture
def rows():
    return summarise(results(), METHODS)


def test_mean_spread_difference_and_cost(rows):
    alone, kl, cwd, nfd = rows
    assert [row.title for row in rows] == ['alone', 'KL', 'cwd', 'NFD']
    assert alone.scores == {0: 40.0, 1: 42.0, 2: 41.0}
    assert (alone.mean, alone.sd) == (41.0, 1.0)
    assert (alone.difference, alone.difference_sd, alone.times) == (None, None, None)
    assert alone.step_seconds == 0.2
    assert alone.peak_bytes == 100 * 2**20

    assert list(kl.scores.items()) == [(0, 41.0), (2, 46.0)]
    assert kl.mean == 43.5
    assert kl.sd == pytest.approx(math.sqrt(12.5))
    # seed by seed: 1 and 5, not 43.5 - 41
    assert kl.difference == 3.0
    assert kl.difference_sd == pytest.approx(math.sqrt(8))
    assert kl.step_seconds == pytest.approx(0.6)
    assert kl.times == pytest.approx(3.0)
    assert kl.peak_bytes == 2**30

    # one run: no spread; none of its seeds was run alone: no difference
    assert (cwd.mean, cwd.sd, cwd.difference) == (50.0, None, None)
    assert (cwd.step_seconds, cwd.peak_bytes, cwd.times) == (None, None, None)
    assert (nfd.scores, nfd.mean, nfd.sd) == ({}, None, None)


def test_cells(rows):
    assert cells(rows[0]) == ['alone', '41.00 ± 1.00', '3', '-', '0.200', '-', '100']
    assert cells(rows[1]) == [
        'KL', '43.50 ± 3.54', '2', '+3.00 ± 2.83', '0.600', '3.00x', '1024']
    assert cells(rows[2]) == ['cwd', '50.00', '1', '-', '-', '-', '-']
    assert cells(rows[3]) == ['NFD', '-', '0', '-', '-', '-', '-']
    only = summarise([result('alone', 0, 40.0), result('kl', 0, 38.5)], METHODS)
    assert cells(only[1])[3] == '-1.50'


def test_without_alone(rows):
    found = summarise(results(), METHODS[1:])
    assert [row.difference for row in found] == [None] * 3
    assert found[0].mean == rows[1].mean


def test_caveats():
    assert caveats(results()) == []
    shared, = caveats([*results(), result('kl', 1, 40.0, side_by_side=True)])
    assert shared.startswith('Runs were made side by side')
    other = result('kl', 1, 40.0)
    other['machine'] = dict(device='EPYC', threads=4, torch='3')
    assert caveats([*results(), other]) == [
        'Runs differ in threads, torch: their seconds and memory do not compare.']
    longer = {**result('kl', 1, 40.0), 'iterations': 600}
    assert caveats([*results(), longer]) == [
        'Budgets differ: [(300, 8), (600, 8)] (iterations, batch size).']
    # a teacher that was only tested has no cost
    assert caveats([*results(), dict(metrics={}, side_by_side=True)]) == []


def test_title():
    title = title_of(Path('a/b2.py'), Path('b0.py'), results())
    assert title == 'b0 taught by b2: 300 iterations of 8'
    longer = {**result('kl', 1, 40.0), 'iterations': 600}
    assert title_of(Path('a/b2.py'), Path('b0.py'), [longer, *results()]) == (
        'b0 taught by b2')
    assert title_of(Path('b2.py'), Path('b0.py'), []) == 'b0 taught by b2'


@pytest.fixture
def report(rows):
    return Report('b0 taught by b2', rows, results(), dict(metrics=dict(mIoU=61.234)),
                  ['Failed: kl, seed 1.'])


def test_table(report):
    console = Console(file=io.StringIO(), width=140)
    console.print(report.table())
    text = console.file.getvalue()
    for part in ('43.50 ± 3.54', '+3.00 ± 2.83', '41.00  46.00', 'Teacher: mIoU 61.23.',
                 'KL: a tenth.', 'Failed: kl, seed 1.'):
        assert part in text
    # what is not in the table needs no note
    assert 'not run' not in text


def test_markdown(report):
    assert report.markdown() == """### b0 taught by b2

| method | mIoU | runs | over alone | s/step | of alone | peak MiB | by seed |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| alone | 41.00 ± 1.00 | 3 | - | 0.200 | - | 100 | 0: 40.00, 1: 42.00, 2: 41.00 |
| [KL](https://example.org/kl) | 43.50 ± 3.54 | 2 | +3.00 ± 2.83 | 0.600 | 3.00x | \
1024 | 0: 41.00, 2: 46.00 |
| cwd | 50.00 | 1 | - | - | - | - | 5: 50.00 |
| NFD | - | 0 | - | - | - | - | - |

* Teacher: mIoU 61.23.
* KL: a tenth.
* Failed: kl, seed 1.
"""


def test_files(report, tmp_path):
    files = report.write(tmp_path / 'out')
    assert [f.name for f in files] == [
        f'comparison.{s}' for s in ('json', 'csv', 'md', 'png')]
    content = json.loads(files[0].read_text())
    assert content['methods'][1]['difference'] == 3.0
    assert content['methods'][1]['scores'] == {'0': 41.0, '2': 46.0}
    assert content['runs'] == results()
    assert content['teacher'] == dict(metrics=dict(mIoU=61.234))
    assert content['notes'] == ['Failed: kl, seed 1.']
    lines = list(csv.DictReader(io.StringIO(files[1].read_text())))
    assert len(lines) == 6
    assert lines[0] == dict(
        method='kl', seed='2', mIoU='46.0', aAcc='90.0', iterations='300',
        batch_size='8', step_seconds='0.5', peak_bytes='314572800')
    assert lines[5]['step_seconds'] == ''
    assert files[2].read_text() == report.markdown()
    picture = cv2.imread(str(files[3]))
    height, width, _ = picture.shape
    assert width > height > 300
    # drawn on, in more colours than grey
    assert (picture.max(2) - picture.min(2) > 50).sum() > 1000


def test_plot(rows):
    figure = figure_of(rows, 'b0 taught by b2', teacher=61.5)
    scores, seconds, memory = figure.axes
    points = [tuple(p) for c in scores.collections if hasattr(c, 'get_sizes')
              for p in c.get_offsets().tolist() if len(c.get_sizes())]
    assert sorted(points) == [
        (40.0, 0.0), (41.0, 0.0), (41.0, 1.0), (42.0, 0.0), (46.0, 1.0), (50.0, 2.0)]
    means = [c.lines[0].get_xdata()[0] for c in scores.containers]
    assert means == [41.0, 43.5, 50.0]
    labels = [t.get_text() for t in scores.get_yticklabels()]
    assert labels == ['alone', 'KL', 'cwd', 'NFD']
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
