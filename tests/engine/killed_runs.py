"""Kill trainings with SIGKILL, at each step of saving and at random moments.

Run as a program, which imports everything once and forks each training: a process
without threads of its own, whatever the tests before have started. Prints JSON.
"""

import json
import os
import random
import re
import runpy
import shutil
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from fastsegformer_mm.engine.checkpoint.digest import weights_digest
from fastsegformer_mm.engine.checkpoint.newest import newest_checkpoint
from fastsegformer_mm.engine.checkpoint.read import read_checkpoint

short = SimpleNamespace(
    **runpy.run_path(str(Path(__file__).with_name('short_run.py'))))
KILLS = 20
# 1 MB of weights, and 1 MB of momentum
WIDTH = 4000


class Report(Hook):
    """Tell the parent that training has begun, and which checkpoint is complete."""

    def __init__(self, pipe):
        self.pipe = pipe

    def before_train(self, runner):
        os.write(self.pipe, b'0\n')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.tell(runner)

    def after_train_epoch(self, runner):
        self.tell(runner)

    def after_val_epoch(self, runner, metrics=None):
        self.tell(runner)

    def tell(self, runner):
        file = Path(runner.work_dir, 'last_checkpoint')
        if file.is_file():
            unit, number = re.search(r'(epoch|iter)_(\d+)', file.read_text()).groups()
            os.write(self.pipe, b'%d\n' % (int(number) * (4 if unit == 'epoch' else 1)))


class KillAt(Hook):
    """Kill this process before its n-th step of file handling in a certain epoch."""

    def __init__(self, epoch, nth, notes):
        self.epoch, self.nth, self.notes = epoch, nth, notes
        self.folder = None
        self.steps = 0

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            self.folder = runner.work_dir
            fsync = os.fsync
            sys.addaudithook(self.audit)

            def note_fsync(handle):
                path = os.readlink(f'/proc/self/fd/{handle}')
                self.step('sync', path, handle)
                fsync(handle)

            os.fsync = note_fsync
        elif runner.epoch > self.epoch:
            self.folder = None

    def audit(self, event, args):
        if event == 'open' and isinstance(args[0], str | os.PathLike) and (
                args[1] != 'r' and args[1] != 'rb'):
            self.step('open', os.fspath(args[0]))
        elif event == 'os.rename':
            self.step('rename', os.fspath(args[1]))
        elif event == 'os.remove':
            self.step('remove', os.fspath(args[0]))

    def step(self, what, path, handle=None):
        if self.folder is None or self.folder not in (path, os.path.dirname(path)):
            return
        name = os.path.relpath(path, self.folder).replace(f'.{os.getpid()}.tmp', '~')
        os.write(self.notes, f'{what} {name}\n'.encode())
        self.steps += 1
        if self.steps == self.nth:
            if handle is not None and os.path.isfile(path):
                # some of it only has come to the disk
                os.ftruncate(handle, os.fstat(handle).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)


def start(work_dir, kill_at=None, **kwargs):
    """Fork a training; returns its number and the pipe with its reports."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        return child, reader
    status = 1
    try:
        with open(work_dir.parent / 'log.txt', 'a') as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        hooks = [Report(writer)]
        if kill_at:
            hooks.append(KillAt(*kill_at, writer))
        short.train(work_dir, hooks=hooks, **kwargs)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def read_all(pipe):
    with os.fdopen(pipe, 'rb') as file:
        return file.read().decode().splitlines()


def finish(work_dir, **kwargs):
    """Run to the end; what is there then."""
    child, pipe = start(work_dir, resume=True, **kwargs)
    lines = read_all(pipe)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f'failed: {(work_dir.parent / "log.txt").read_text()[-3000:]}')
    return dict(lines=lines, **left(work_dir))


def left(work_dir):
    """The newest checkpoint, and whether all that is named is there."""
    found = newest_checkpoint(work_dir)
    if found.path is None:
        return dict(iter=0, files=sorted(short.files(work_dir)), skipped=found.skipped)
    content = read_checkpoint(found.path)
    info = content['message_hub']['runtime_info']
    best = info.get('best_ckpt')
    return dict(
        iter=found.iter, skipped=found.skipped, files=sorted(short.files(work_dir)),
        best=best and Path(best).name, best_there=best is None or Path(best).is_file(),
        best_score=info.get('best_score'), keep=info['keep_ckpt_ids'],
        weights=weights_digest(content['state_dict']))


def every_step(folder):
    """Kill before each step of file handling in the third of four epochs."""
    prepared = folder / 'prepared' / 'run'
    prepared.mkdir(parents=True)
    finish(prepared, epochs=2)
    straight = folder / 'straight' / 'run'
    shutil.copytree(prepared, straight)
    end = finish(straight, kill_at=(2, None))
    steps = [line for line in end.pop('lines') if not line.isdigit()]
    kills = []
    for nth in range(1, len(steps) + 1):
        run = folder / f'kill_{nth}' / 'run'
        shutil.copytree(prepared, run)
        child, pipe = start(run, resume=True, kill_at=(2, nth))
        reported = [int(x) for x in read_all(pipe) if x.isdigit()]
        _, status = os.waitpid(child, 0)
        after = left(run)
        final = finish(run)
        final.pop('lines')
        kills.append(dict(
            step=steps[nth - 1], signal=status, reported=max(reported), after=after,
            end=final))
        shutil.rmtree(run.parent)
    return dict(steps=steps, straight=end, kills=kills)


def random_moments(folder):
    """Kill at random moments, resume, until there were enough kills and all ended."""
    draw = random.Random(0)
    expected = []
    for by_epoch in (True, False):
        run = folder / f'straight_{by_epoch}' / 'run'
        run.parent.mkdir()
        began = time.monotonic()
        expected.append(finish(run, by_epoch=by_epoch, width=WIDTH))
        lines = len(expected[-1].pop('lines'))
        between = (time.monotonic() - began) / lines
    kills, ends = [], []
    while len(kills) < KILLS:
        by_epoch = len(ends) % 2 == 0
        run = folder / f'run_{len(ends)}' / 'run'
        run.parent.mkdir()
        reached = 0
        while len(kills) < KILLS:
            child, pipe = start(run, resume=True, by_epoch=by_epoch, width=WIDTH)
            # counted by reports, as the time that they take varies
            file = os.fdopen(pipe, 'rb')
            reports = 1 + draw.randrange(1 + int(lines * (1 - reached / 16)))
            reported = [reached, *map(int, islice(file, reports))]
            time.sleep(draw.uniform(0, between))
            os.kill(child, signal.SIGKILL)
            reported += map(int, file)
            file.close()
            _, status = os.waitpid(child, 0)
            if not status:  # it was faster
                break
            after = left(run)
            kills.append(dict(signal=status, reported=max(reported), after=after))
            reached = after['iter']
        if status:
            finish(run, by_epoch=by_epoch, width=WIDTH)
        ends.append(dict(left(run), by_epoch=by_epoch))
        shutil.rmtree(run.parent)
    return dict(expected=expected, kills=kills, ends=ends)


if __name__ == '__main__':
    torch.set_num_threads(1)
    # formatting a config takes longer than a training here
    Config.pretty_text = property(lambda self: '# not formatted')
    folder = Path(sys.argv[2])
    folder.mkdir()
    # what is imported or built at the first use only
    short.train(folder / 'warm' / 'run', epochs=1)
    parts = dict(steps=every_step, random=random_moments)
    print(json.dumps(parts[sys.argv[1]](folder)))
