"""Whatever a tool's threads do, a signal ends its process in time."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastsegformer_cli import signals
from fastsegformer_cli.commands import COMMANDS, tools_folder

# a deadlock in native code: no signal interrupts a mutex
STUCK = """
import ctypes, os, signal, sys, threading, time
from fastsegformer_cli import signals

def stuck(library):
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    said = False
    while True:
        try:
            if not said:
                said = True
                print('stuck', flush=True)
            library.pthread_mutex_lock(mutex)
        except KeyboardInterrupt:
            pass  # between the two

releases_gil, keeps_gil = ctypes.CDLL(None), ctypes.PyDLL(None)
"""


def start(text, *arguments):
    return subprocess.Popen(
        [sys.executable, '-c', STUCK + text, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process, number):
    """Signal it when it is stuck; its exit code and what it has said."""
    assert process.stdout.readline() == 'stuck\n'
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    ('where', 'code', 'words'),
    [
        ('stuck(releases_gil)', 130, 'interrupted: what was in work is given up\n'),
        ('stuck(keeps_gil)', -9, ''),
        ('in_thread(releases_gil)', 130, 'interrupted: what was in work is given up\n'),
        ('in_thread(keeps_gil)', -9, ''),
        ("print('stuck', flush=True); time.sleep(600)", 130, 'interrupted\n'),
    ],
)
def test_a_stuck_process_ends(where, code, words, number):
    process = start(
        f"""
def in_thread(library):
    thread = threading.Thread(target=stuck, args=[library])
    while True:  # what a wait for a result of that thread does
        try:
            if thread.ident is None:
                thread.start()
            time.sleep(600)
        except KeyboardInterrupt:
            pass

def main():
    {where}

sys.exit(signals.run_tool(main, 0.5))
"""
    )
    assert end(process, number) == (code, words)


def test_the_limit_is_short():
    # and half a second more where Python does not run
    assert signals.LIMIT == 4


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_every_tool_ends(number):
    """Stuck in the first native call after its command line."""
    driver = """
import argparse, runpy
real, original, began = signals.run_tool, argparse.ArgumentParser.parse_args, []

def run_tool(main):
    began.append(main)
    return real(main, 0.5)

def parse_args(self, *args, **kwargs):
    if began:
        stuck(releases_gil)
    return argparse.Namespace()

signals.run_tool, argparse.ArgumentParser.parse_args = run_tool, parse_args
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""
    scripts = [tools_folder() / command.script for command in COMMANDS.values()]
    started = {path.name: start(driver, path) for path in scripts}
    ended = {name: end(process, number) for name, process in started.items()}
    assert len(ended) == len(COMMANDS) > 20
    assert set(ended.values()) == {(130, 'interrupted: what was in work is given up\n')}


def test_a_signal_to_a_forked_process_is_its_own():
    process = start(
        """
def main():
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(go, b'.')
        time.sleep(600)
    os.read(ready, 1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    time.sleep(2)
    return os.WEXITSTATUS(status) - 100

sys.exit(signals.run_tool(main, 0.1))
"""
    )
    process.communicate(timeout=60)
    assert process.returncode == 30


def test_children_are_ended_with_it():
    """Those of multiprocessing would wait for work for ever."""
    process = start(
        """
import multiprocessing

def main():
    context = multiprocessing.get_context('fork')
    child = context.Process(target=time.sleep, args=[600])
    child.start()
    print(child.pid, flush=True)
    stuck(releases_gil)

sys.exit(signals.run_tool(main, 0.5))
"""
    )
    child = int(process.stdout.readline())
    assert end(process, signal.SIGTERM)[0] == 130
    # an orphan that is killed is gone, or about to be taken note of by init
    status = Path(f'/proc/{child}/stat')
    assert not status.exists() or status.read_text().split()[2] in 'ZX'


def test_nohup_is_respected(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert signals.ending_signals() == [signal.SIGINT, signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)
    monkeypatch.delattr(signal, 'SIGHUP')
    monkeypatch.setattr(signal, 'SIGBREAK', 21, raising=False)
    assert signals.ending_signals() == [signal.SIGINT, signal.SIGTERM, 21]


def test_first_and_second_signal(capsys):
    stop, said = threading.Event(), []
    before = signal.getsignal(signal.SIGTERM)
    with signals.stopped_by_signals(stop, said.append) as came:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(10)
        assert said == [
            'stopping: what is in work is completed, if that takes less than 4 s; '
            'again to stop at once'
        ]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert came == [signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize('leaves', [lambda: 0, lambda: sys.exit(2)])
def test_nothing_is_left_after_a_tool(leaves, monkeypatch):
    """A later signal to the same process is none to the tool that has ended."""
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, 'Popen', Noted)
    with contextlib.suppress(SystemExit):
        assert signals.run_tool(leaves) == 0
    [watcher] = started
    assert watcher.returncode == 0
    before = signal.set_wakeup_fd(-1)
    assert before == -1


def test_a_forked_process_that_lives_on_keeps_no_tool():
    """As a worker of a loader that is kept for the next epoch."""
    process = start(
        """
def main():
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(go, b'.')
        time.sleep(600)
    os.read(ready, 1)
    print(child, flush=True)

sys.exit(signals.run_tool(main))
"""
    )
    child = int(process.stdout.readline())
    try:
        assert process.wait(60) == 0
    finally:
        os.kill(child, signal.SIGKILL)
