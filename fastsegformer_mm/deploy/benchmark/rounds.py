"""Combinations are measured in turns, one process at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil

from ..errors import DeployError
from .agreement import agree
from .combination import Combination, short_name
from .process import Process
from .settings import Settings


class Rounds:
    """Loads, measures and compares combinations.

    Args:
        settings (Settings): How.
        scratch (str | Path): Folder for what processes hand over.
        logs (str | Path): Folder for what they print.
        say (Callable): Told in one line what happens.
        start (Callable): Makes a process.
        save (Callable): Called whenever something was added to ``entries``.
    """

    def __init__(
        self,
        settings: Settings,
        scratch,
        logs,
        say: Callable = print,
        start: Callable = Process,
        save: Callable = lambda: None,
    ):
        self.settings = settings
        self.scratch, self.logs = Path(scratch), Path(logs)
        self.say, self.start, self.save = say, start, save
        self.entries: list[dict] = []
        self.models: dict[str, dict] = {}
        self._last = None

    def run(self, combinations: Sequence[Combination], frames) -> None:
        """Measure all; whoever fails is reported and does not stop the others.

        Args:
            combinations (Sequence[Combination]): From :func:`combinations_of`.
            frames (np.ndarray): uint8 of (N, H, W, 3).
        """
        path = self.scratch / 'frames.npy'
        np.save(path, frames)
        groups = [list(combinations)]
        if self.settings.one_model_at_a_time:
            names = dict.fromkeys(_group(c) for c in combinations)
            groups = [[c for c in combinations if _group(c) == name] for name in names]
        for number, group in enumerate(groups):
            self._measure(group, path, number)

    def _measure(self, combinations, frames, group):
        alive = []
        try:
            for combination in combinations:
                entry = new_entry(combination, group)
                self.entries.append(entry)
                self._guard(entry, alive, None, self._load, combination, frames)
            for number in range(self.settings.rounds):
                for entry, process in rotated(alive, number):
                    self._guard(entry, alive, process, self._turn, number)
            for task in (self._compare, self._evaluate):
                for entry, process in list(alive):
                    self._guard(entry, alive, process, task)
        finally:
            for _, process in alive:
                process.stop()
            self._last = None

    def _guard(self, entry, alive, process, task, *arguments):
        """A task of one combination; when it fails, that one is out."""
        try:
            task(entry, alive, process, *arguments)
        except DeployError as error:
            entry['status'], entry['reason'] = 'failed', str(error)
            self.say(f'{entry["label"]}: FAILED: {error}')
            for pair in [pair for pair in alive if pair[0] is entry]:
                pair[1].stop()
                alive.remove(pair)
        self.save()

    def _load(self, entry, alive, process, combination, frames):
        index = len(self.entries)
        process = self.start(
            self.logs / f'{index:02d}.txt', self.settings.threads, self.settings.timeout
        )
        # from here on it is ended whatever happens
        alive.append((entry, process))
        self.say(f'{entry["label"]}: loading')
        reply = process.ask(
            'load',
            combination=asdict(combination),
            frames=str(frames),
            threads=self.settings.threads,
            device=self.settings.device,
            cfg_options=self.settings.cfg_options,
        )
        entry['load_seconds'] = reply['seconds']
        entry['runs'] = reply.get('runs')
        card = reply['card']
        if combination.model.artefact:
            entry['precision'] = reply['runs']['precision']
            entry['model'] = self._owner(card, combination)
        self._describe(entry['model'], card, combination, reply)

    def _owner(self, card, combination):
        """The network of this run that an artefact was exported from, else itself."""
        for name, model in self.models.items():
            if (model['stem'], model['sha256']) == (card['name'], card['sha256']):
                return name
        name = short_name(card['name'])
        taken = name in self.models
        return f'{name} ({Path(combination.model.source).name})' if taken else name

    def _describe(self, name, card, combination, reply):
        model = self.models.setdefault(
            name,
            {
                'stem': card['name'],
                'config': combination.model.source,
                'checkpoint': card['checkpoint'],
                'sha256': card['sha256'],
                'random_weights': not card['checkpoint'],
                'input': list(card['size']),
                'classes': len(card['classes']),
                'parameters': None,
                'macs': None,
            },
        )
        for key in ('parameters', 'macs'):
            model[key] = reply.get(key, model[key])

    def _turn(self, entry, alive, process, number):
        if self._last is not None and not self._last[1].rest():
            self._last[0]['spins'] = True
        self._last = entry, process
        self.say(f'{entry["label"]}: round {number + 1} of {self.settings.rounds}')
        clock, busy, own = time.monotonic(), busy_seconds(), process.cpu_seconds()
        warmups = self.settings.warmups
        reply = process.ask(
            'measure',
            warmups=self.settings.warmups_again if entry['rounds'] else warmups,
            runs=self.settings.runs,
        )
        others = busy_seconds() - busy - (process.cpu_seconds() - own)
        entry['busy_elsewhere'].append(
            round(max(0.0, others) / (time.monotonic() - clock), 3)
        )
        entry['rounds'].append(reply.pop('seconds'))
        entry.update(reply)
        entry['status'] = 'measured'

    def _compare(self, entry, alive, process):
        path = self.scratch / f'{self.entries.index(entry)}.npz'
        process.ask('outputs', path=str(path))
        reference = self._reference(entry)
        if reference is None:
            return
        with np.load(reference) as one, np.load(path) as two:
            entry['agreement'] = asdict(agree(dict(one), dict(two)))

    def _reference(self, entry, suffix=''):
        """What eager PyTorch of the same network has written, if it has."""
        baseline = baseline_of(entry, self.entries)
        if baseline is None:
            return None
        path = self.scratch / f'{self.entries.index(baseline)}{suffix}.npz'
        return path if path.is_file() else None

    def _evaluate(self, entry, alive, process):
        model = self.models[entry['model']]
        config = model['config']
        if not self.settings.evaluate or not config.endswith('.py'):
            return
        if model['random_weights']:
            entry['no_miou'] = 'random weights'
            return
        self.say(f'{entry["label"]}: on the test set')
        path = self.scratch / f'{self.entries.index(entry)}-test.npz'
        try:
            reply = process.ask('evaluate', config=config, path=str(path))
        except DeployError as error:
            # its times are good
            entry['no_miou'] = str(error)
            self.say(f'{entry["label"]}: no mIoU: {error}')
            return
        entry['test'] = reply['metrics']
        entry['miou'] = reply['metrics'].get('mIoU')
        reference = self._reference(entry, '-test')
        if reference is not None:
            with np.load(reference) as one, np.load(path) as two:
                equal = one['pixels'] == two['pixels']
                entry['test']['equal_pixels'] = float(equal.mean())


def new_entry(combination: Combination, group: int = 0) -> dict:
    """What is known of a combination before it was loaded.

    Args:
        combination (Combination): It.
        group (int): Number of those whose turns it shares. Defaults to 0.
    """
    return {
        'label': combination.label,
        'model': combination.model.name,
        'source': combination.model.source,
        'artefact': combination.model.artefact,
        'backend': combination.backend,
        'precision': combination.precision,
        'passes': None if combination.passes is None else list(combination.passes),
        'streams': combination.streams,
        'baseline': combination.baseline,
        'group': group,
        'status': 'not measured',
        'rounds': [],
        'busy_elsewhere': [],
    }


def baseline_of(entry: dict, entries: Sequence[dict]) -> dict | None:
    """Eager PyTorch in float32 of the entry's network, in the same run."""
    return next(
        (e for e in entries if e['baseline'] and e['model'] == entry['model']), None
    )


def rotated(items: Sequence, number: int) -> list:
    """The order of a round: each begins one further, so that none is always first.

    Example:
        >>> rotated(['a', 'b', 'c'], 4)
        ['b', 'c', 'a']
    """
    if not items:
        return []
    first = number % len(items)
    return [*items[first:], *items[:first]]


def busy_seconds() -> float:
    """CPU time of the whole machine that was not idle."""
    times = psutil.cpu_times()
    names = ('user', 'nice', 'system', 'irq', 'softirq', 'steal')
    return sum(getattr(times, name, 0.0) for name in names)


def _group(combination):
    return short_name(Path(combination.model.source).stem)
