"""DistributedDataParallel without `find_unused_parameters`, on two processes."""

import json
import runpy
from pathlib import Path

WORKER = Path(__file__).with_name('data_parallel_worker.py')
TESTS = Path(__file__).parents[2]
run_worker = runpy.run_path(str(TESTS / 'run_worker.py'))['run_worker']


def test_gradients_are_the_mean_of_both_processes(tmp_path):
    """With the distillation, and after it was stopped."""
    run = run_worker(WORKER, tmp_path)
    assert 'find_unused_parameters' not in run.stderr
    for rank in (0, 1):
        steps = json.loads((tmp_path / f'{rank}.json').read_text())
        assert [s['stopped'] for s in steps] == [False, False, True, True]
        for step in steps:
            assert step['difference'] < 1e-6
            assert step['largest'] > 1e-3
            assert len(step['names']) == 14
            assert (step['connectors'] == 0) == step['stopped']
