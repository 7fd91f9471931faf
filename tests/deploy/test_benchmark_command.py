"""A worker's process, and the command as a whole."""

import importlib
import json
import os
import runpy
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastsegformer_cli.signals import handled_signals
from fastsegformer_mm.deploy.benchmark.process import Process, environment_of
from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.reparameterize import PASSES

case = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).parent / 'benchmark_case.py'))
)
TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/benchmark.py'
tool = SimpleNamespace(**runpy.run_path(str(TOOL)))


@pytest.fixture
def config(tmp_path):
    return case.write_config(tmp_path)


def test_environment_of_a_worker(monkeypatch):
    monkeypatch.setenv('OMP_WAIT_POLICY', 'active')
    monkeypatch.setenv('OMP_NUM_THREADS', '64')
    found = environment_of(3)
    assert (found['OMP_NUM_THREADS'], found['MKL_NUM_THREADS']) == ('3', '3')
    assert found['OMP_WAIT_POLICY'] == 'active'
    monkeypatch.delenv('OMP_WAIT_POLICY')
    assert 'OMP_WAIT_POLICY' not in environment_of(3)


def program(monkeypatch, tmp_path, text):
    """A worker whose program is ``text``."""
    path = tmp_path / 'stand_in.py'
    path.write_text('import os, sys, time, json\nreplies = os.fdopen(int(sys.argv[1]), '
                    f'"w", 1)\nprint("noise")\n{text}\n')  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    process = importlib.import_module('fastsegformer_mm.deploy.benchmark.process')
    monkeypatch.setattr(process, 'WORKER', 'stand_in')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('sys.exit("ran out of luck")', 'exit code 1: ran out of luck'),
        ('os.kill(os.getpid(), 9)', 'signal 9, most often for lack of memory'),
        ('time.sleep(60)', r'no answer in 1.5 s; allow more with --timeout'),
        ('replies.write(json.dumps(dict(error="no bf16")) + "\\n"); input()',
         '^no bf16$'),
    ],
)  # fmt: skip
def test_a_worker_that_fails(monkeypatch, tmp_path, text, message):
    program(monkeypatch, tmp_path, text)
    process = Process(tmp_path / 'log.txt', 1, 1.5)
    with pytest.raises(DeployError, match=message):
        process.ask('load')
    process.stop()
    assert process._popen.poll() is not None


def test_waiting_until_threads_have_stopped(monkeypatch, tmp_path):
    program(
        monkeypatch, tmp_path,
        'for line in sys.stdin:\n'
        '    replies.write("{}\\n")\n'
        '    end = time.process_time() + 0.3\n'
        '    while time.process_time() < end: pass\n',
    )  # fmt: skip
    process = Process(tmp_path / 'log.txt', 1, 30)
    assert process.ask('measure') == {}
    used = process.cpu_seconds()
    # still at work when the limit has passed, and at rest without one
    assert process.rest(window=0.01, limit=0) is False
    assert process.rest(limit=60) is True
    assert process.cpu_seconds() - used > 0.2
    process.stop()
    assert 'noise' in (tmp_path / 'log.txt').read_text()


def test_threads_that_have_ended_have_computed_too(monkeypatch, tmp_path):
    program(
        monkeypatch, tmp_path,
        'import threading\n'
        'def work():\n'
        '    end = time.process_time() + 0.3\n'
        '    while time.process_time() < end: pass\n'
        'for line in sys.stdin:\n'
        '    thread = threading.Thread(target=work)\n'
        '    thread.start()\n'
        '    thread.join()\n'
        '    replies.write("{}\\n")\n',
    )  # fmt: skip
    process = Process(tmp_path / 'log.txt', 1, 30)
    used = process.cpu_seconds()
    assert process.ask('measure') == {}
    assert process.cpu_seconds() - used > 0.2
    process.stop()


def run_for_real(config, out, *words):
    return tool.main(
        [
            *(str(config), '--trial', '--warmups', '1', '--runs', '2', '--rounds', '2'),
            *('--threads', '1', '--frames', '2', '--frame-size', '64', '80'),
            *('--out', str(out), *words),
        ]
    )


def test_the_command_with_a_real_process(config, tmp_path, capsys):
    out = tmp_path / 'out'
    assert run_for_real(config, out, '--backends', 'torch', '--evaluate') == 0
    run = stored(tmp_path)
    (eager,) = run['entries']
    assert run['complete']
    assert run['settings']['trial'] is True
    assert run['environment']['OMP_NUM_THREADS'] == '1'
    assert run['images'] == dict(
        source='synthetic navel oranges', size=[64, 80], frames=2
    )
    assert eager['label'] == 'tiny / torch:fp32'
    assert [len(one['pipeline']) for one in eager['rounds']] == [2, 2]
    assert eager['agreement']['equal_pixels'] == 1
    assert eager['peak_bytes'] > 2**26
    assert eager['no_miou'] == 'random weights'
    model = run['models']['tiny']
    assert model['random_weights']
    assert model['input'] == [32, 32]
    assert model['parameters'] > 40_000
    assert model['macs'] > 100_000
    shown = capsys.readouterr().out
    assert 'random weights: its speed is real' in shown
    assert 'A TRIAL' in shown
    assert not (out / 'miou_fps.png').exists()
    assert (out / 'logs/01.txt').is_file()


@pytest.mark.slow
def test_the_command_with_all_runtimes(config, tmp_path, capsys):
    backends = ['reference', 'torch+reparam', 'compile', 'onnxruntime', 'openvino',
                'openvino:bf16', 'openvino:int8']  # fmt: skip
    # OpenVINO gets INT8 from an artefact only
    assert run_for_real(config, tmp_path / 'out', '--backends', *backends) == 1
    *measured, int8 = stored(tmp_path)['entries']
    assert (int8['status'], int8['rounds']) == ('failed', [])
    assert 'int8' in int8['reason']
    assert len(measured) == 7
    for entry in measured:
        assert entry['status'] == 'measured'
        assert entry['times_eager']['times'] > 0
        exact = entry['precision'] == 'fp32'
        difference = entry['agreement']['logit_difference']
        # the reference loop resizes by Pillow
        limit = 1e-4 if entry['backend'] != 'reference' else 1e-2
        assert difference < (limit if exact else 0.1)
        assert entry['agreement']['equal_pixels'] > 0.9
        if entry['runs']:
            assert entry['runs']['backend'] == entry['backend']
            assert entry['runs']['precision'] == entry['precision']
    assert 'tiny / openvino:int8' in capsys.readouterr().out


def command(tmp_path, config, process, *words):
    trial = ['--trial', '--warmups', '1', '--runs', '1', '--rounds', '2']
    frames = ['--frames', '1', '--frame-size', '64', '64']
    out = ['--out', str(tmp_path / 'out')]
    return tool.main([str(config), *trial, *frames, *out, *words], process)


def stored(tmp_path):
    return json.loads((tmp_path / 'out/benchmark.json').read_text())['runs'][-1]


def test_exit_codes(config, tmp_path, capsys):
    process = case.FakeProcess.fresh()
    assert command(tmp_path, config, process, '--threads', '2') == 0
    assert [e['backend'] for e in stored(tmp_path)['entries']] == [
        'torch', 'reference', 'torch+reparam', 'onnxruntime', 'openvino', 'openvino',
    ]  # fmt: skip
    failing = case.FakeProcess.fresh(**{'openvino measure': case.FAILURE})
    assert command(tmp_path, config, failing) == 1
    assert capsys.readouterr().err == ''
    for words in (
        ['--merge', 'a.json'], ['--miou', 'x'],
        ['--miou', 'x=50'], ['--backends', 'x'],
        ['--images', '/none'], ['--rounds', '0'],
    ):  # fmt: skip
        assert command(tmp_path, config, process, *words) == 2
        assert capsys.readouterr().err.startswith('error: ')
    for words in ([str(config), '--warmups', '49'], ['none.py']):
        assert tool.main(words, process) == 2
        assert capsys.readouterr().err.startswith('error: ')
    assert tool.main([]) == 2


def test_kill_writes_what_there_is(config, tmp_path):
    seen = []

    class Killed(case.FakeProcess):
        def measure(self, **kwargs):
            self.calls.append('turn')
            if self.calls.count('turn') == 4:
                # for those who cannot be caught
                seen.append(stored(tmp_path))
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            return super().measure(**kwargs)

    process = Killed.fresh()
    words = ['--backends', 'torch', 'openvino']
    with handled_signals():
        assert command(tmp_path, config, process, *words) == 130
    run = stored(tmp_path)
    for one in (*seen, run):
        assert [len(e['rounds']) for e in one['entries']] == [1, 2]
        assert not one['complete']
    assert len(seen) == 1
    assert run['entries'][0]['stages']['network']['runs'] == 1
    assert 'INTERRUPTED' in (tmp_path / 'out/benchmark.md').read_text()


def test_passes_one_after_the_other(config, tmp_path):
    process = case.FakeProcess.fresh()
    words = ['--passes', '--backends', 'openvino', '--precisions', 'fp32', 'bf16']
    assert command(tmp_path, config, process, *words) == 0
    entries = stored(tmp_path)['entries']
    assert [(e['backend'], e['precision'], len(e['passes'])) for e in entries] == [
        (*pair, count)
        for pair in (('torch', 'fp32'), ('openvino', 'fp32'), ('openvino', 'bf16'))
        for count in range(len(PASSES) + 1)
    ]
    assert entries[-1]['passes'] == list(PASSES)
    sent = [a['combination']['passes'] for do, a in process.asked if do == 'load']
    assert list(sent[2]) == list(PASSES[:2])


def test_streams(config, tmp_path, capsys):
    process = case.FakeProcess.fresh()
    words = ['--backends', 'openvino', '--threads', '2', '--streams', '1', '2', '2']
    assert command(tmp_path, config, process, *words) == 0
    entries = stored(tmp_path)['entries']
    assert [(e['backend'], e['streams']) for e in entries] == [
        ('torch', 0), ('openvino', 0), ('openvino', 1), ('openvino', 2),
    ]  # fmt: skip
    sent = [a['combination']['streams'] for do, a in process.asked if do == 'load']
    assert sent == [0, 0, 1, 2]
    assert command(tmp_path, config, process, '--passes', *words) == 2
    assert 'leave out --streams' in capsys.readouterr().err


def test_merging(config, tmp_path, capsys):
    out = tmp_path / 'out'
    process = case.FakeProcess.fresh()
    assert command(tmp_path, config, process, '--backends', 'openvino') == 0
    other = case.example_run(machine=dict(cpu='Xeon'))
    (tmp_path / 'b.json').write_text(json.dumps(dict(format=1, runs=[other])))
    capsys.readouterr()
    words = ['--merge', str(out / 'benchmark.json'), str(tmp_path / 'b.json')]
    assert (
        tool.main([*words, '--out', str(tmp_path / 'both'), '--miou', 'tiny=50']) == 0
    )
    shown = capsys.readouterr().out
    assert 'Machine 2: Xeon' in shown
    names = {path.name for path in (tmp_path / 'both').iterdir()}
    assert names == {'benchmark.json', 'benchmark.md', 'miou_parameters.png',
                     'miou_fps_2.png'}  # fmt: skip
