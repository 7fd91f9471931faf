"""GradientBalanceHook on two processes with DistributedDataParallel."""

import json
import runpy
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name('gradient_balance_worker.py')
TESTS = Path(__file__).parents[2]
run_worker = runpy.run_path(str(TESTS / 'run_worker.py'))['run_worker']


def test_factors_are_equal_and_those_of_the_whole_batch(tmp_path):
    run_worker(WORKER, tmp_path)
    first, second = (
        json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1))
    assert [s['factors'] for s in first['steps']] == [
        s['factors'] for s in second['steps']]
    for rank in (first, second):
        measured, unmeasured = rank['steps']
        assert measured['factors'] == unmeasured['factors']
        factor = measured['factors']['loss_map']
        assert factor == pytest.approx(rank['expected'], rel=1e-3)
        # the backward pass that was measured gives what one that was not does
        assert measured['gradient'] == pytest.approx(unmeasured['gradient'], rel=1e-5)
        assert measured['gradient'] == pytest.approx(first['steps'][0]['gradient'])
