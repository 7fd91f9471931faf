"""What becomes of a job when one of its processes does not do its part."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

HERE = Path(__file__).parent
TRAIN = HERE.parents[1] / 'tools' / 'train.py'
faults = SimpleNamespace(**runpy.run_path(str(HERE / 'faults.py')))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('faults')
    faults.tiny.write_data(folder / 'data', train=8, val=3)
    return folder


def environment():
    return dict(
        os.environ, CUDA_VISIBLE_DEVICES='', GLOO_SOCKET_IFNAME='lo',
        OMP_NUM_THREADS='1', PYTHONPATH=str(HERE))


def torchrun(folder, name, plan, restarts=0, **changes):
    """A job of two processes on this machine, and what it said."""
    config = faults.write_config(folder, name, plan, **changes)
    job = subprocess.Popen(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone',
         '--nproc-per-node', '2', '--max-restarts', str(restarts), str(TRAIN),
         str(config), '--launcher', 'pytorch', '--resume'],
        env=environment(), cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    try:
        said, _ = job.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        # not killed, or its processes would stay
        job.terminate()
        said, _ = job.communicate()
        pytest.fail(f'the job hangs:\n{said[-3000:]}')
    (folder / f'{name}.said').write_text(said)
    return SimpleNamespace(stdout=said, returncode=job.returncode)


def weights(folder, name):
    return torch.load(
        folder / name / 'iter_8.pth', weights_only=False)['state_dict']


def iterations(said):
    """The iterations that rank 0 has logged, in their order."""
    return [int(i) for i in re.findall(r'Iter\(train\) \[(\d)/8\]', said)]


def root_cause(said):
    """Rank, and how it ended, of the process that torchrun blames."""
    report = said.rpartition('Root Cause')[2]
    return (re.search(r'rank +: (\d)', report)[1],
            re.search(r'exitcode +: (-?\d+)', report)[1], report)


def test_killed_worker_and_killed_loader(folder):
    """Rank 1 is killed; restarted, the job goes on; then a loader is killed."""
    run = torchrun(folder, 'both', [(0, 1, 3, 'kill'), (1, 0, 6, 'kill_loader')],
                   restarts=1)
    said = run.stdout
    assert run.returncode != 0, said
    assert re.search(r'exitcode: -9\) local_rank: 1', said), said[-3000:]
    first, second = said.split('ResumeNewestHook: going on from')
    # rank 0 is stopped while it writes the third checkpoint, or after
    resumed = int(re.match(r' \S+/iter_(\d)\.pth', second)[1])
    assert resumed in (2, 3)
    assert iterations(first)[:2] == [1, 2]
    assert iterations(second)[:2] == [resumed + 1, resumed + 2]
    assert re.search(r'DataLoader worker \(pid.* \d+\) .*killed by signal', second)
    assert root_cause(said)[1] == '1'
    assert (folder / 'both' / 'iter_6.pth').exists()


@pytest.mark.slow
def test_restarts_until_it_is_finished(folder):
    """Both are killed, one after the other; the weights are as if nothing had been."""
    straight = torchrun(folder, 'straight', [])
    assert straight.returncode == 0, straight.stdout[-3000:]
    assert iterations(straight.stdout) == [*range(1, 9)]
    killed = torchrun(folder, 'killed', [(0, 1, 3, 'kill'), (1, 0, 6, 'kill')],
                      restarts=2)
    assert killed.returncode == 0, killed.stdout[-3000:]
    assert killed.stdout.count('ResumeNewestHook: going on from') == 2
    assert iterations(killed.stdout)[-1] == 8
    expected = weights(folder, 'straight')
    found = weights(folder, 'killed')
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key


@pytest.mark.slow
@pytest.mark.parametrize(('what', 'rank', 'code', 'reason'), [
    ('kill', 1, '-9', r'Signal 9 \(SIGKILL\) received by PID'),
    ('fail', 0, '1', 'this hook fails on one rank alone'),
    ('fail', 1, '1', 'this hook fails on one rank alone')])
def test_job_ends_and_says_why(folder, what, rank, code, reason):
    """While the other process waits for the gradients."""
    run = torchrun(folder, f'{what}{rank}', [(0, rank, 2, what)])
    assert run.returncode != 0
    assert re.search(reason, run.stdout)
    blamed, ended, _ = root_cause(run.stdout)
    assert (blamed, ended) == (str(rank), code)
    assert not (folder / f'{what}{rank}' / 'iter_4.pth').exists()


@pytest.mark.slow
def test_hanging_process(folder):
    """It does not die, so that only the time limit ends the job."""
    run = torchrun(
        folder, 'hang', [(0, 1, 2, 'hang')],
        env_cfg=dict(dist_cfg=dict(backend='nccl', timeout=10)))
    assert run.returncode != 0
    assert re.search('[Tt]imed out|[Tt]imeout', run.stdout), run.stdout[-3000:]
    assert root_cause(run.stdout)[:2] == ('0', '1')
