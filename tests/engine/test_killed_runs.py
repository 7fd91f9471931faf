"""SIGKILL at each step of saving and at random moments: nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name('killed_runs.py')


def run(what, folder):
    environment = dict(os.environ, CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS='1')
    done = subprocess.run(
        [sys.executable, str(WORKER), what, str(folder / what)], env=environment,
        timeout=600, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def written(name):
    return [f'open .{name}~', f'sync .{name}~', f'rename {name}', 'open .', 'sync .']


def temporary(files):
    return {name for name in files if name.endswith('.tmp')}


def test_killed_at_each_step_of_saving(tmp_path):
    """Of the third epoch of four, with max_keep_ckpts=1 and a new best one."""
    result = run('steps', tmp_path)
    written_regular = [*written('epoch_3.pth'), *written('last_checkpoint')]
    # whatever is removed is removed when what replaces it is there and named
    assert result['steps'] == [
        *written_regular, 'remove epoch_2.pth',
        *written('best_score_epoch_3.pth'),
        *written_regular, 'remove best_score_epoch_2.pth']
    straight = result['straight']
    assert straight['files'] == [
        'best_score_epoch_4.pth', 'epoch_4.pth', 'last_checkpoint']
    assert (straight['iter'], straight['keep']) == (16, [4])
    assert (straight['best'], straight['best_score']) == ('best_score_epoch_4.pth', 15)
    assert len(result['kills']) == 27
    complete = result['steps'].index('open .')
    for nth, kill in enumerate(result['kills']):
        after = kill['after']
        assert kill['signal'] == 9
        # the new one from the moment on when it has its name, the old one before
        assert after['iter'] == (8 if nth < complete else 12), kill
        assert after['iter'] >= kill['reported']
        assert after['skipped'] == []
        assert after['best_there']
        # the disk holds one regular and one best checkpoint at least, two at most
        for head in ('epoch_', 'best_score_epoch_'):
            found = [f for f in after['files'] if f.startswith(head)]
            assert 1 <= len(found) <= 2, kill
        opened = kill['step'].startswith('rename') or kill['step'].endswith('~')
        half = opened and not kill['step'].startswith('open')
        assert len(temporary(after['files'])) == half, kill
        # to the bit, and not a file more
        assert kill['end'] == straight, kill


def test_killed_at_20_random_moments(tmp_path):
    """Epoch- and iteration-based trainings, killed and resumed until they end."""
    result = run('random', tmp_path)
    assert len(result['kills']) == 20
    for kill in result['kills']:
        after = kill['after']
        assert kill['signal'] == 9
        assert after['iter'] >= kill['reported']
        assert after['skipped'] == []
        if after['iter']:
            assert after['best_there']
        else:  # killed before the first checkpoint was complete
            assert not [f for f in after['files'] if f.endswith('.pth')
                        and not f.startswith('best')]
    assert len(result['ends']) >= 2
    for end in result['ends']:
        straight = result['expected'][0 if end['by_epoch'] else 1]
        assert end['iter'] == 16
        # bit-identical to the training that was never killed
        assert end['weights'] == straight['weights']
        assert not temporary(end['files'])
        assert end['best_there']
        regular = [f for f in end['files'] if f.startswith(('epoch', 'iter'))]
        assert regular == (['epoch_4.pth'] if end['by_epoch'] else ['iter_16.pth'])
