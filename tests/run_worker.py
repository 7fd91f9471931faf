"""Start a script that makes processes of its own; test files read it by runpy."""

import os
import subprocess
import sys


def run_worker(script, folder):
    """Run ``script FOLDER`` to its end, without GPUs, and give its result.

    Its processes meet by the loopback device, and share the cores evenly.
    """
    environment = dict(
        os.environ, CUDA_VISIBLE_DEVICES='', GLOO_SOCKET_IFNAME='lo',
        OMP_NUM_THREADS='1')
    run = subprocess.run(
        [sys.executable, str(script), str(folder)], env=environment, timeout=300,
        capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    return run
