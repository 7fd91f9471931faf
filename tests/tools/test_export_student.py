"""The command that takes a student out of a distillation's checkpoint."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

TOOL = Path(__file__).parents[2] / 'tools/model_converters/export_student.py'


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['export_student.py', *map(str, arguments)])
    try:
        runpy.run_path(str(TOOL), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise


def test_writes_the_student(tmp_path, monkeypatch, capsys):
    src, dst = tmp_path / 'distill.pth', tmp_path / 'new' / 'student.pth'
    weights = {'architecture.a.b': torch.ones(2), 'distiller.c': torch.zeros(1)}
    torch.save({'meta': {'cfg': 'x', 'epoch': 3}, 'state_dict': weights}, src)
    call(monkeypatch, src, dst)
    written = torch.load(dst, weights_only=True)
    assert list(written['state_dict']) == ['a.b']
    assert written['state_dict']['a.b'].tolist() == [1, 1]
    assert written['meta']['epoch'] == 3
    assert 'cfg' not in written['meta']
    assert capsys.readouterr().out.endswith(f'wrote {dst}\n')


def test_refusals_are_one_line(tmp_path, monkeypatch):
    absent, dst = tmp_path / 'absent.pth', tmp_path / 'student.pth'
    with pytest.raises(SystemExit, match=r'error: checkpoint .*absent\.pth'):
        call(monkeypatch, absent, dst)
    alone = tmp_path / 'alone.pth'
    torch.save({'state_dict': {'backbone.a': torch.ones(1)}}, alone)
    with pytest.raises(SystemExit, match=r'alone\.pth.* is not one of a distillation'):
        call(monkeypatch, alone, dst)
    assert not dst.exists()
