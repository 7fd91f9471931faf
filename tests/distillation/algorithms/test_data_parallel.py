"""DistributedDataParallel without `find_unused_parameters`, on two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name('data_parallel_worker.py')


def test_gradients_are_the_mean_of_both_processes(tmp_path):
    """With the distillation, and after it was stopped."""
    environment = dict(
        os.environ, CUDA_VISIBLE_DEVICES='', GLOO_SOCKET_IFNAME='lo',
        OMP_NUM_THREADS='1')
    run = subprocess.run(
        [sys.executable, str(WORKER), str(tmp_path)], env=environment, timeout=300,
        capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    assert 'find_unused_parameters' not in run.stderr
    for rank in (0, 1):
        steps = json.loads((tmp_path / f'{rank}.json').read_text())
        assert [s['stopped'] for s in steps] == [False, False, True, True]
        for step in steps:
            assert step['difference'] < 1e-6
            assert step['largest'] > 1e-3
            assert len(step['names']) == 14
            assert (step['connectors'] == 0) == step['stopped']
