"""Commands with bars and log files, as in the demonstration."""

import os
import re
import signal
import subprocess
import sys
import time
from io import StringIO

import psutil
import pytest
from rich.console import Console

from fastsegformer_cli.steps import Steps

TRAINING = """
print('12/01 04:30:09 - mmengine - INFO - Iter(train) [ 10/20]  lr: 1e-3  loss: 0.9')
print('12/01 04:30:10 - mmengine - INFO - Iter(train) [ 20/20]  loss: 0.81  a_loss: 3')
print('12/01 04:30:11 - mmengine - INFO - Iter(val) [4/4]  mIoU: 30.1')
"""


def run(tmp_path, program, terminal=False):
    said = StringIO()
    console = Console(
        file=said, force_terminal=terminal, width=100, soft_wrap=not terminal
    )
    steps = Steps(tmp_path / 'logs', 2, console)
    steps.run('train the teacher', 'train_teacher', [sys.executable, '-uc', program])
    return said.getvalue()


def test_a_line_a_step_without_a_terminal(tmp_path):
    log = tmp_path / 'logs/1_train_teacher.log'
    said = re.sub(r'\d+:\d\d', 'M:SS', run(tmp_path, TRAINING))
    assert said == f'[1/2] train the teacher: M:SS, loss 0.81 ({log})\n'
    lines = log.read_text().splitlines()
    assert lines[0].startswith(f'$ {sys.executable} -uc')
    assert lines[-1].endswith('Iter(val) [4/4]  mIoU: 30.1')


def test_a_bar_in_a_terminal(tmp_path):
    # long enough for the bar to be drawn
    program = TRAINING.replace('\nprint', '\nimport time; time.sleep(0.3); print')
    said = run(tmp_path, program, terminal=True)
    assert '10/20' in said
    assert 'loss 0.9' in said
    assert 'left' in said


def test_a_step_that_fails(tmp_path, capsys):
    program = "for i in range(40): print('line', i)\nraise SystemExit(3)"
    said = StringIO()
    steps = Steps(tmp_path, 1, Console(file=said, soft_wrap=True))
    with pytest.raises(SystemExit, match='step 1 of 1, train, failed with exit code 3'):
        steps.run('train', 'train', [sys.executable, '-c', program])
    lines = said.getvalue().splitlines()
    assert lines[0].startswith('[1/1] train: failed after ')
    assert lines[1:] == [f'line {i}' for i in range(10, 40)]


@pytest.mark.skipif(os.name == 'nt', reason='Windows has no such signals')
@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_processes(tmp_path, number):
    """The command's own children too."""
    child = 'import os, time; print(os.getpid(), flush=True); time.sleep(60)'
    parent = (
        f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    )
    program = (
        'import sys; from fastsegformer_cli.signals import run_tool; '
        'from fastsegformer_cli.steps import Steps; '
        f'sys.exit(run_tool(lambda: Steps({str(tmp_path)!r}, 1).run("wait", "wait", '
        f'[sys.executable, "-c", {parent!r}])))'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', program], stderr=subprocess.PIPE, text=True
    )
    log = tmp_path / '1_wait.log'
    for _ in range(600):
        if log.is_file() and log.read_text().count('\n') == 2:
            break
        time.sleep(0.1)
    pid = int(log.read_text().splitlines()[1])
    process.send_signal(number)
    assert process.wait(10) == 130
    assert process.stderr.read().splitlines()[-1] == 'interrupted'
    end = time.monotonic() + 5
    while running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not running(pid)


def running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
