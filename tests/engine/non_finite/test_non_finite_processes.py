"""One of two processes has a loss that is not finite: both do the same."""

import json
import math
import runpy
from pathlib import Path

import pytest

from fastsegformer_mm.engine.non_finite.replay import read_record

WORKER = Path(__file__).with_name('non_finite_worker.py')
TESTS = Path(__file__).parents[2]
run_worker = runpy.run_path(str(TESTS / 'run_worker.py'))['run_worker']


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """The folder of all runs, and the report of each rank."""
    folder = tmp_path_factory.mktemp('processes')
    run_worker(WORKER, folder)
    return folder, [json.loads((folder / f'{r}.json').read_text()) for r in (0, 1)]


@pytest.mark.parametrize(('name', 'iters'), [('skip', 4), ('skip 2', 5)])
def test_skips_on_both(runs, name, iters):
    """As if neither had been given its batch of that iteration."""
    folder, reports = runs
    for report in reports:
        assert report[name] == dict(iter=iters, error=None, same=True)
    for sums in zip(*(report['sums'].values() for report in reports)):
        assert sums[0] == pytest.approx(sums[1]) or math.isnan(sum(sums))
    log = next((folder / name).rglob('*.log')).read_text()
    (line,) = (line for line in log.splitlines() if 'NonFiniteLossHook skips' in line)
    # rank 0, whose log it is, has no bad loss
    assert 'iteration 2 (epoch 1): loss_ce=nan (rank 1), loss_aux=nan (rank 1);' in line
    assert 'files: images/12-0.jpg (label labels/12-0.png), images/12-1.jpg' in line
    assert 'images/2-' not in line
    (path,) = (folder / name / 'non_finite').iterdir()
    assert path.name == 'iter_2_rank1.pth'
    assert str(path) in line


def test_stops_on_both(runs):
    folder, reports = runs
    errors = [report['stop']['error'] for report in reports]
    assert errors[0] == errors[1]
    assert 'iteration 2 (epoch 1): loss_ce=nan (rank 1), loss_aux=nan (rank 1)' in (
        errors[0])
    assert 'losses on rank 1: loss=nan, ' in errors[0]
    assert 'images/12-1.jpg (label labels/12-1.png): ' in errors[0]
    assert 'rank 0' not in errors[0]
    assert [report['stop']['iter'] for report in reports] == [1, 1]
    assert reports[0]['sums']['stop'] == reports[1]['sums']['stop']
    content = read_record(folder / 'stop/non_finite/iter_2_rank1.pth')
    assert (content['rank'], content['world_size']) == (1, 2)
    assert content['files'][0] == 'images/12-0.jpg (label labels/12-0.png)'


def test_weights_that_one_has_broken(runs):
    for report in runs[1]:
        assert 'no skipping helps broken weights' in report['broken']['error']
        assert 'head.bias (1 of 3 values)' in report['broken']['error']
        assert report['broken']['iter'] == 1
