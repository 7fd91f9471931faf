"""A whole comparison: what is to be run, the teacher first, and the report."""

import contextlib
import glob
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from fastsegformer_mm.distillation.algorithms.frozen_teacher import find_one

from .queue import Outcome, Process, work_off
from .report import Report, title_of
from .results import (
    RESULT,
    Run,
    best_checkpoint,
    checkpoint_digest,
    read_json,
    write_json,
)
from .run_config import chosen_on_test, run_config
from .settings import ALONE, EQUAL_TIME, TEACHER, Comparison, ComparisonError, Method
from .summary import about_equal_time, caveats, equal_time, summarise

WITHOUT_TEACHER = {ALONE, EQUAL_TIME}
EQUAL_TIME_FILE = 'equal_time.json'


@dataclass
class Bench:
    """A comparison and the folder that its runs are in.

    Args:
        comparison (Comparison): From :func:`read_comparison`.
        folder (Path): Holds ``runs/METHOD/seed-K``, the report, and in
            ``replaced/`` what runs of another config have left.
        options (dict): As ``--cfg-options``, for the student's config in every run.
        teacher_options (dict): The same for the teacher's.
        teacher_ckpt (str, optional): The teacher's checkpoint, instead of the one
            that the comparison names.

    Raises:
        ComparisonError: The checkpoint is not one file, or cannot be read.
    """

    comparison: Comparison
    folder: Path
    options: dict = field(default_factory=dict)
    teacher_options: dict = field(default_factory=dict)
    teacher_ckpt: str | None = None

    def __post_init__(self):
        self.folder = Path(self.folder)
        self._digests = {}

    def teacher_training(self) -> Run:
        """The run that makes the teacher."""
        return self._run(TEACHER, self.comparison.seeds[0], None)

    def find_teacher(self) -> str | None:
        """The checkpoint: the one given, the one made here, or the config's."""
        if self.teacher_ckpt is not None:
            return find_one(self.teacher_ckpt)
        run = self.teacher_training()
        if run.state() == 'complete':
            return best_checkpoint(run.folder)
        path = self.comparison.teacher_ckpt
        if path is None or (glob.has_magic(path) and not glob.glob(path)):
            return None
        path = find_one(path)
        return path if '://' in path or Path(path).is_file() else None

    def teacher_run(self, teacher: str) -> Run:
        """The run with the teacher's score: its training, or a test of the file."""
        run = self.teacher_training()
        if run.state() == 'complete' and self.teacher_ckpt is None:
            return run
        return replace(
            self._run(TEACHER, run.seed, teacher),
            folder=run.folder.with_name('test'),
        )

    def runs(
        self, methods: Sequence[str], seeds: Sequence[int], teacher: str | None
    ) -> list[Run]:
        """All runs, one seed of every method after the other.

        Args:
            methods (Sequence[str]): Names.
            seeds (Sequence[int]): Seeds.
            teacher (str, optional): Its checkpoint; None if there is no distillation.
        """
        return [self._run(m, seed, teacher) for seed in seeds for m in methods]

    def _run(self, method, seed, teacher, digest=None):
        if method in WITHOUT_TEACHER:
            teacher = digest = None
        elif teacher is not None:
            digest = self._digest(teacher)
        cfg = run_config(
            self.comparison,
            method,
            seed,
            teacher,
            self.options,
            self.teacher_options,
            self.equal_time().get('stretch', 1.0),
        )
        folder = self.folder / 'runs' / method / f'seed-{seed}'
        return Run(folder, method, seed, cfg, digest)

    def _digest(self, path):
        if path not in self._digests:
            self._digests[path] = checkpoint_digest(path)
        return self._digests[path]

    def equal_time(self) -> dict:
        """What 'alone, equal time' was measured to be; {} before that."""
        return read_json(self.folder / EQUAL_TIME_FILE) or {}

    def set_equal_time(self, teacher: str | None) -> bool:
        """Measure it, once: runs that were made with it are not to change by noise.

        Args:
            teacher (str, optional): As in :meth:`report`.

        Returns:
            bool: Whether it is known now.
        """
        found = self.equal_time()
        if not found:
            rows, results, _ = self._summary(teacher)
            own = [r['max_iters'] for r in results if r['method'] == ALONE]
            found = own and equal_time(rows, own[0], self.comparison.equal_time)
            if found:
                write_json(self.folder / EQUAL_TIME_FILE, found)
        return bool(found)

    def _summary(self, teacher):
        """Rows, results, and the names of runs that do not belong to them."""
        results, left_out, taught_by = [], [], set()
        for method in self.comparison.methods:
            for path in sorted(
                self.folder.glob(f'runs/{method}/seed-*/{RESULT}'), key=_seed
            ):
                result = read_json(path)
                digest = result.get('teacher')
                run = self._run(method, _seed(path), teacher, digest)
                if run.fits(result):
                    results.append(result)
                    taught_by.add(digest)
                else:
                    left_out.append(run.name)
        if len(taught_by - {None}) > 1:
            raise ComparisonError(
                f'the runs in {self.folder} were taught by different teachers: name '
                'the one whose runs are to be reported by --teacher-ckpt'
            )
        methods = list(self.comparison.methods.values())
        return summarise(results, methods), results, left_out

    def report(self, teacher: str | None, notes: Sequence[str] = ()) -> Report:
        """From what is complete by now, of all methods and seeds of the folder.

        Args:
            teacher (str, optional): The teacher's checkpoint. Without it the runs
                are those of any one teacher.
            notes (Sequence[str]): To stand below the table.
        """
        rows, results, left_out = self._summary(teacher)
        run = self.teacher_training() if teacher is None else self.teacher_run(teacher)
        result = run.result()
        if result:
            method = Method(TEACHER, f'teacher: {self.comparison.teacher.stem}')
            rows = [*summarise([result], [method]), *rows]
            results = [result, *results]
        lines = [*notes, *caveats(rows, results)]
        if chosen_on_test(self._run(ALONE, 0, None).cfg):
            lines.append(
                'Validation and test images are the same: the best weights were chosen '
                'by what they are tested on, and all scores are too good.'
            )
        lines += about_equal_time(self.equal_time(), rows)
        if left_out:
            lines.append(
                'Left out, as they are of another config or teacher: '
                + '; '.join(left_out)
                + '.'
            )
        title = title_of(self.comparison.teacher, self.comparison.student, results)
        return Report(title, rows, results, lines)


def _seed(path):
    return int(path.parent.name.removeprefix('seed-'))


def select(
    runs: Sequence[Run], replaced: Path, rerun_changed: bool, say: Callable
) -> list[Run]:
    """Those that are not complete.

    Raises:
        ComparisonError: Some were made with another config or teacher, and
            ``rerun_changed`` is False; with True they are put aside.
    """
    states = {run.name: run.state() for run in runs}
    changed = [run for run in runs if states[run.name] == 'changed']
    if changed and not rerun_changed:
        lines = [f'  {run.name}: {"; ".join(run.changes()[:3])}' for run in changed]
        raise ComparisonError(
            'these runs were made with another config or teacher, and do not compare '
            'with new ones:\n' + '\n'.join(lines) + '\nTake another folder (--out), '
            'or run them again by --rerun-changed, which puts what is there aside'
        )
    for run in changed:
        say(f'{run.name}: the run of another config is now {run.put_aside(replaced)}')
    return [run for run in runs if states[run.name] != 'complete']


@contextlib.contextmanager
def locked(folder: Path):
    """Nobody else compares in this folder meanwhile.

    Raises:
        ComparisonError: Somebody does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / '.lock', timeout=0, thread_local=False).acquire()
    except Timeout as error:
        raise ComparisonError(
            f'another comparison runs in {folder}: wait for its end, or take '
            'another folder by --out'
        ) from error
    with lock:
        yield


def compare(
    bench: Bench,
    methods: Sequence[str],
    seeds: Sequence[int],
    jobs: int = 1,
    threads: int | None = None,
    minutes: float | None = None,
    train_teacher: bool = False,
    rerun_changed: bool = False,
    say: Callable = print,
    start: Callable = Process,
) -> Outcome:
    """Make the runs that are missing, 'alone, equal time' when the others are done.

    Args:
        bench (Bench): What is compared, and where.
        methods (Sequence[str]): Names of methods.
        seeds (Sequence[int]): Seeds.
        jobs (int): Processes side by side. Defaults to 1.
        threads (int, optional): Of PyTorch, for all of them together. Defaults to
            None: as many as PyTorch takes here.
        minutes (float, optional): After so many no run is started any more.
        train_teacher (bool): Train the teacher first, if that is not done, even if the
            comparison names a checkpoint. Defaults to False.
        rerun_changed (bool): Make runs of another config again; what they had made
            is put aside. Defaults to False, an error.
        say (Callable): Told in one line what happens.
        start (Callable): Makes the process of a run.

    Raises:
        ComparisonError: There is no teacher, or some runs are of another config.
    """
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    threads = threads or torch.get_num_threads()
    replaced = bench.folder / 'replaced'

    def run_all(runs, jobs=jobs):
        waiting = select(runs, replaced, rerun_changed, say)
        if len(waiting) < len(runs):
            say(f'{len(runs) - len(waiting)} of {len(runs)} runs are complete already')
        each = max(1, threads // jobs)
        return work_off(waiting, jobs, each, deadline, say, start)

    taught = not WITHOUT_TEACHER.issuperset(methods)
    train_teacher |= bench.comparison.teacher_ckpt is None
    if taught and train_teacher and bench.teacher_ckpt is None:
        outcome = run_all([bench.teacher_training()], 1)
        if outcome.failed or outcome.left:
            say('no student is taught before the teacher is complete')
            return outcome
    teacher = bench.find_teacher()
    if taught and teacher is None:
        raise ComparisonError(
            f'the teacher has no checkpoint (teacher_ckpt='
            f'{bench.comparison.teacher_ckpt!r}). Have it trained as part of the '
            'comparison by --train-teacher, train it by\n'
            f'  mim train mmseg {bench.comparison.teacher}\n'
            'or name its checkpoint by --teacher-ckpt FILE'
        )
    runs = bench.runs([m for m in methods if m != EQUAL_TIME], seeds, teacher)
    if taught:
        scored = bench.teacher_run(teacher)
        runs += [scored] if scored.folder.name == 'test' else []
    outcome = run_all(runs)
    if EQUAL_TIME not in methods:
        return outcome
    if outcome.left or outcome.interrupted:
        say('alone, equal time: not before the others are complete')
    elif bench.set_equal_time(teacher):
        outcome.add(run_all(bench.runs([EQUAL_TIME], seeds, None)))
    else:
        say('alone, equal time: not without timed steps of alone and a distillation')
    return outcome
