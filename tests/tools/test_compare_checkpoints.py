"""Equal weights are told from weights that differ."""

import runpy
from pathlib import Path

import torch

from fastsegformer_mm.engine.checkpoint.digest import (
    weights_difference,
    weights_digest,
)

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/compare_checkpoints.py'
main = runpy.run_path(str(TOOL))['main']


def weights():
    return {'a': torch.arange(6.0).reshape(2, 3), 'count': torch.tensor(3),
            'half': torch.ones(2, dtype=torch.bfloat16)}


def test_digest_is_of_names_types_shapes_and_values():
    digest = weights_digest(weights())
    assert len(digest) == 64
    assert digest == weights_digest(dict(reversed(weights().items())))
    changed = [
        {**weights(), 'a': torch.arange(6.0).reshape(3, 2)},
        {**weights(), 'count': torch.tensor(4)},
        {**weights(), 'half': torch.ones(2, dtype=torch.float16)},
        {**weights(), 'more': torch.ones(1)},
        {**weights(), 'a': weights()['a'] + torch.tensor([[0, 0, 0], [0, 0, 1e-6]])},
    ]
    assert len({digest, *map(weights_digest, changed)}) == 6


def test_difference():
    other = {**weights(), 'a': weights()['a'] + 0.25, 'count': torch.ones(2),
             'more': torch.ones(1)}
    other['a'][0, 0] -= 1.0
    assert weights_difference(weights(), other) == dict(
        missing=['more'], shapes=['count'], values={'a': 0.75})
    nan = {'a': torch.tensor([float('nan'), 1.0])}
    assert weights_difference(nan, {'a': nan['a'].clone()})['values'] == {}
    assert not weights_difference(weights(), weights())['values']


def test_command(tmp_path, capsys):
    torch.save(dict(state_dict=weights(), meta={}), tmp_path / 'a.pth')
    torch.save(weights(), tmp_path / 'b.pth')
    torch.save({**weights(), 'count': torch.tensor(5)}, tmp_path / 'c.pth')
    a, b, c, absent = (str(tmp_path / f'{n}.pth') for n in ('a', 'b', 'c', 'absent'))
    assert main([a, b]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.split()[0] == second.split()[0] == weights_digest(weights())
    assert main([a, b, c]) == 1
    assert '1 of 3 tensors differ, by up to 2 (count)' in capsys.readouterr().out
    assert main([a, absent]) == 2
    assert 'absent.pth' in capsys.readouterr().out
