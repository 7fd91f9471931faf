"""The command line of a comparison: what it prints, writes and returns."""

import importlib.util
import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_cli.signals import handled_signals
from fastsegformer_mm.distillation.comparison.compare import locked
from fastsegformer_mm.distillation.comparison.results import read_json

ROOT = Path(__file__).resolve().parents[2]
case = SimpleNamespace(**runpy.run_path(
    str(ROOT / 'tests/distillation/comparison/case.py')))
set_up = case.set_up


def load_tool():
    path = ROOT / 'tools/analysis_tools/compare_distillation.py'
    spec = importlib.util.spec_from_file_location('compare_distillation', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return case.write_data(tmp_path_factory.mktemp('data') / 'data')


@pytest.fixture
def config(tmp_path, data):
    (tmp_path / 'data').symlink_to(data)
    return case.write_case(tmp_path)


@pytest.fixture
def call(config, capsys):
    """Call the tool, its runs made in this process; exit code and what it printed."""
    def call(*arguments, start=case.Here):
        case.Here.started = []
        arguments = [config, '--out', config.parent / 'out', *arguments]
        code = load_tool().main(list(map(str, arguments)), start)
        # without what the runs have said
        lines = capsys.readouterr().out.split('\n')
        return code, '\n'.join(x for x in lines if 'mmengine' not in x)

    return call


def test_runs_reports_and_goes_on(call, config):
    out = config.parent / 'out'
    code, said = call('--methods', 'kl', 'alone', 'kl', '--seeds', 1, '--threads', 1)
    assert code == 0
    assert case.Here.started == ['kl, seed 1', 'alone, seed 1', 'teacher, test']
    results = {name: read_json(out / f'runs/{name}/seed-1/result.json')
               for name in ('alone', 'kl')}
    scores = {name: result['metrics']['mIoU'] for name, result in results.items()}
    assert f'[1/3] kl, seed 1 starts\nkl, seed 1: mIoU {scores["kl"]:.2f}, ' in said
    assert f'{scores["kl"] - scores["alone"]:+.2f}' in said
    assert 'small taught by big: 4 iterations of 2' in said
    content = read_json(out / 'comparison.json')
    found = {row['method']: row['scores'] for row in content['methods']}
    assert found['kl'] == {'1': scores['kl']}
    assert sorted(p.name for p in out.glob('comparison.*')) == [
        f'comparison.{s}' for s in ('csv', 'json', 'md', 'png')]

    # the whole of it: every method, the config's seeds
    code, said = call()
    assert code == 0
    assert case.Here.started == [
        'alone, seed 0', 'kl, seed 0', 'nfd, seed 0', 'nfd, seed 1']
    assert '3 of 7 runs are complete already' in said
    for path in out.glob('comparison.*'):
        path.unlink()
    code, said = call('--report-only')
    assert (code, case.Here.started) == (0, [])
    assert len(list(out.glob('comparison.*'))) == 4
    rows = read_json(out / 'comparison.json')['methods']
    assert {row['method']: len(row['scores']) for row in rows} == dict(
        teacher=1, alone=2, alone_equal_time=0, kl=2, nfd=2)
    # no run was long enough to be timed
    assert not (out / 'equal_time.json').exists()


def test_options_reach_the_runs(call, config):
    code, _ = call(
        '--methods', 'alone', 'kl', '--seeds', 0, '--jobs', 2, '--threads', 5,
        '--teacher-ckpt', config.parent / 'teach*.pth', '--cfg-options',
        'train_cfg.max_iters=2', 'train_cfg.val_interval=2', '--teacher-options',
        'test_dataloader.batch_size=3')
    assert code == 0
    out = config.parent / 'out'
    result = read_json(out / 'runs/kl/seed-0/result.json')
    assert result['iterations'] == 2
    # two at a time share the threads, and their seconds are marked
    assert (result['threads'], result['side_by_side']) == (2, True)
    assert 'side by side' in (out / 'comparison.md').read_text()
    teacher = (out / 'runs/teacher/test/config.py').read_text()
    assert "'batch_size': 3" in teacher
    # and are part of what a run is
    with pytest.raises(SystemExit, match=r'train_cfg\.max_iters: 2 -> 4'):
        call('--methods', 'alone', '--seeds', 0)
    code, said = call('--methods', 'alone', '--seeds', 0, '--rerun-changed')
    assert (code, case.Here.started) == (0, ['alone, seed 0'])
    assert (out / 'replaced/alone/seed-0.1/result.json').is_file()
    assert 'the run of another config is now' in said
    # of one report are the runs of one config
    notes = read_json(out / 'comparison.json')['notes']
    assert any(n.startswith('Left out') and 'kl, seed 0' in n for n in notes)


def test_failure(call):
    class Broken(case.Here):
        def __init__(self, run, threads):
            super().__init__(run, threads)
            if run.method == 'kl':
                (run.folder / 'result.json').unlink()
                (run.folder / 'log.txt').write_text('a\nLoss is NaN [x]\n\n')
                self.code = 1

    code, said = call('--seeds', 0, start=Broken)
    assert code == 1
    assert case.Here.started[-1] == 'teacher, test'
    assert 'FAILED kl, seed 0: Loss is NaN [x]; see ' in said
    assert 'Failed: kl, seed 0.' in said


def test_out_of_time(call):
    code, said = call('--minutes', 0, '--seeds', 0)
    assert code == 3
    assert 'the time is up: 4 runs are not started' in said
    assert 'not complete yet: alone, seed 0; kl, seed 0; nfd, seed 0; teacher' in said


def test_kill_and_ctrl_c(call, config):
    class Killed(case.Here):
        def __init__(self, run, threads):
            super().__init__(run, threads)
            if run.method == 'kl':
                (run.folder / 'result.json').unlink()
                self.code = None

        def poll(self):
            if self.code is None:
                os.kill(os.getpid(), signal.SIGTERM)
            return self.code

    with handled_signals():
        code, said = call('--seeds', 0, start=Killed)
    assert code == 130
    assert case.Here.started == ['alone, seed 0', 'kl, seed 0']
    assert 'not complete yet: kl, seed 0; nfd, seed 0; teacher, test' in said
    # the report is there, and the same command goes on
    rows = read_json(config.parent / 'out/comparison.json')['methods']
    assert {r['method']: len(r['scores']) for r in rows}['alone'] == 1
    code, said = call('--seeds', 0)
    assert code == 0
    assert 'kl, seed 0 goes on' in said


def test_refusals(call, config):
    there = 'alone, alone_equal_time, kl, nfd'
    with pytest.raises(SystemExit, match=rf'no method mgd; .* has {there}'):
        call('--methods', 'mgd', 'kl')
    (config.parent / 'teacher.pth').unlink()
    with pytest.raises(SystemExit, match='error: the teacher has no checkpoint'):
        call()
    assert case.Here.started == []
    refused = locked(config.parent / 'out')
    with refused, pytest.raises(SystemExit, match='another comparison runs in'):
        call()
    with pytest.raises(SystemExit, match='absent'):
        load_tool().main(['absent.py'])


def test_teacher_of_the_comparison(call, config):
    (config.parent / 'teacher.pth').unlink()
    code, _ = call('--train-teacher', '--methods', 'kl', '--seeds', 0)
    assert code == 0
    assert case.Here.started == ['teacher, seed 0', 'kl, seed 0']


def test_default_folder():
    args = load_tool().parse_args(['a/pair.py'])
    assert args.out is None
    assert (args.jobs, args.threads, args.minutes) == (1, None, None)


def test_default_folder_is_named_after_the_config(config, monkeypatch):
    monkeypatch.chdir(config.parent)
    assert load_tool().main([str(config), '--report-only']) == 0
    assert (config.parent / 'work_dirs/pair/comparison.md').is_file()
