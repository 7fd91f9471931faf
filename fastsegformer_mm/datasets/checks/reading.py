"""Looking at the pixels of a pair, in this process or in several."""
import hashlib
import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.registry import TRANSFORMS, init_default_scope
from mmengine.utils import import_modules_from_strings

from .image_checks import check_image, check_orientation, read_raw, turns_by_exif
from .label_checks import check_label, value_counts
from .near_copies import fingerprint
from .report import Problem
from .settings import ModelSettings
from .sources import Source

# to import the stack takes a process about as long as to read so many pairs
PAIRS_A_PROCESS = 250

# index of the source, image, label
Job = tuple[int, str, str | None]


@dataclass
class PairFacts:
    """What was seen of a pair.

    Args:
        source (int): Index of its source.
        image (str), label (str, optional): The files.
        size (tuple[int, int], optional): Height and width of the image as loaded;
            None if it could not be.
        one_channel (bool): Whether the image's file is grey.
        counts (np.ndarray, optional): Pixels of each label value, of shape (256, );
            None if there are none.
        image_hash, label_hash (str): Of the decoded pixels; '' if there are none.
        fingerprint (np.ndarray, optional): Of the image; see ``near_copies.py``.
        problems (list[Problem]): What is wrong.
    """

    source: int
    image: str
    label: str | None
    size: tuple[int, int] | None = None
    one_channel: bool = False
    counts: np.ndarray | None = None
    image_hash: str = ''
    label_hash: str = ''
    fingerprint: np.ndarray | None = None
    problems: list[Problem] = field(default_factory=list)


class PairReader:
    """Reads pairs of some data sets as their pipelines do.

    Args:
        sources (list[Source]): The data sets.
        settings (ModelSettings): What the network expects.
    """

    def __init__(self, sources: list[Source], settings: ModelSettings) -> None:
        self.sources = sources
        self.settings = settings
        self._loaders: dict[int, tuple] = {}

    def __call__(self, job: Job) -> PairFacts:
        facts = PairFacts(*job)
        try:
            self._read(facts)
        except Exception as error:
            # one file of a kind that nobody thought of must not end the check
            self._note(facts, self.sources[facts.source], facts.image, (
                'unchecked-file', 'error', f'{type(error).__name__}: {error}',
                'a pair that can be checked', 'look at image and label, and take the '
                'pair out of the split unless both are sound'))
        return facts

    def _read(self, facts: PairFacts) -> None:
        index, image, label = facts.source, facts.image, facts.label
        source = self.sources[index]
        image_loader, label_loader, turns = self._loader(index)
        raw = None
        if image_loader is not None:
            raw = self._read_image(facts, image_loader, source)
        if label is not None and label_loader is not None:
            self._read_label(facts, label_loader, source, raw, turns)
        elif raw is not None:
            self._note(facts, source, image, check_orientation(raw, turns, None))

    def _loader(self, index: int) -> tuple:
        if index not in self._loaders:
            source = self.sources[index]
            image_loader = label_loader = None
            turns = False
            if not source.not_understood:
                image_loader = TRANSFORMS.build(dict(source.image_step))
                turns = turns_by_exif(source.image_step)
            if source.label_step:
                step = {k: v for k, v in source.label_step.items()
                        # the data set's counts; that they differ is told elsewhere
                        if k != 'reduce_zero_label'}
                label_loader = TRANSFORMS.build(step)
            self._loaders[index] = image_loader, label_loader, turns
        return self._loaders[index]

    @staticmethod
    def _note(facts: PairFacts, source: Source, file: str, finding) -> None:
        if finding is not None:
            kind, severity, *texts = finding
            facts.problems.append(
                Problem(kind, severity, source.split, file, *texts))

    def _open(self, facts: PairFacts, source: Source, path: str,
              loader: BaseTransform):
        """The file, its content and raw form; None with a problem noted."""
        anew = 'put an intact copy there, or take the pair out of the split'
        try:
            data = fileio.get(path, backend_args=loader.backend_args)
        except OSError as error:
            self._note(facts, source, path, (
                'unreadable-file', 'error', str(error.strerror or error),
                'a file that can be read', 'see to its permissions and its disk'))
            return None
        if not data:
            self._note(facts, source, path, (
                'empty-file', 'error', '0 bytes', 'a picture', anew))
            return None
        raw = read_raw(data)
        if raw.fault:
            self._note(facts, source, path, (
                'undecodable-file', 'error', f'{len(data)} bytes, {raw.fault}',
                'a complete picture', anew))
            return None
        return data, raw

    def _load(self, facts: PairFacts, source: Source, path: str,
              loader: BaseTransform, record: dict, key: str) -> np.ndarray | None:
        try:
            return loader.transform(record)[key]
        except Exception as error:
            # whatever a decoder raises, this file would end the training
            text = str(error).strip().splitlines() or [type(error).__name__]
            # Pillow names the buffer that it has been given
            fault = text[0].partition(' <_io.')[0]
            self._note(facts, source, path, (
                'undecodable-file', 'error', f'{type(loader).__name__} fails: {fault}',
                'a picture that the loader can decode',
                'save it again in a usual format, PNG or JPEG, or replace it'))
            return None

    def _read_image(self, facts: PairFacts, loader, source: Source):
        opened = self._open(facts, source, facts.image, loader)
        if opened is None:
            return None
        data, raw = opened
        loaded = self._load(facts, source, facts.image, loader,
                            {'img_path': facts.image}, 'img')
        if loaded is None:
            return None
        facts.size = loaded.shape[:2]
        facts.one_channel = raw.mode in ('L', '1') and loaded.ndim == 3
        facts.image_hash = _digest(loaded)
        facts.fingerprint = fingerprint(loaded)
        for finding in check_image(raw, data, loaded, self.settings.channels,
                                   source.image_step):
            self._note(facts, source, facts.image, finding)
        return raw

    def _read_label(self, facts: PairFacts, loader, source: Source, image_raw,
                    turns: bool) -> None:
        opened = self._open(facts, source, facts.label, loader)
        if opened is None:
            return
        record = {'seg_map_path': facts.label, 'seg_fields': [],
                  'label_map': source.label_map,
                  'reduce_zero_label': source.reduce_zero_label}
        label = self._load(facts, source, facts.label, loader, record, 'gt_seg_map')
        if label is None:
            return
        size = facts.size
        if image_raw is not None and label.ndim == 2:
            turned = check_orientation(image_raw, turns, label.shape)
            self._note(facts, source, facts.image, turned)
            if turned is not None and turned[1] == 'error':
                size = None  # the sizes differ, and that line says why
        count = len(source.classes) or self.settings.num_classes or 256
        for finding in check_label(opened[1], label, size, source, count,
                                   ignored_value(source, self.settings)):
            self._note(facts, source, facts.label, finding)
        facts.label_hash = _digest(label)
        if label.ndim == 2:
            facts.counts = value_counts(label)


def ignored_value(source: Source, settings: ModelSettings) -> int:
    """The label value that training leaves out."""
    if settings.ignore_index is not None:
        return settings.ignore_index
    return source.ignore_index


def _digest(pixels: np.ndarray) -> str:
    """The same for equal pictures, whatever their file format."""
    digest = hashlib.blake2b(repr((pixels.shape, pixels.dtype.str)).encode(),
                             digest_size=16)
    digest.update(np.ascontiguousarray(pixels))
    return digest.hexdigest()


def read_pairs(jobs: list[Job], sources: list[Source], settings: ModelSettings,
               processes: int = 1, scope: str = 'mmseg',
               imports=None) -> Iterator[PairFacts]:
    """Look at pairs, in their order.

    Args:
        jobs (list[Job]): Index of the source, image and label of each.
        sources (list[Source]): The data sets.
        settings (ModelSettings): What the network expects.
        processes (int): How many at once at most, one for 250 pairs each; 1 stays in
            this one. Defaults to 1.
        scope (str): Default scope of the registries. Defaults to 'mmseg'.
        imports (dict, optional): The config's ``custom_imports``, which each process
            has to repeat.

    Yields:
        PairFacts: The same whatever ``processes`` is.
    """
    processes = min(processes, -(-len(jobs) // PAIRS_A_PROCESS))
    if processes <= 1:
        yield from map(PairReader(sources, settings), jobs)
        return
    # threads of PyTorch and OpenCV do not survive a fork
    with ProcessPoolExecutor(
            processes, multiprocessing.get_context('spawn'), _start_worker,
            (sources, settings, scope, imports)) as executor:
        chunk = max(1, min(64, len(jobs) // (4 * processes)))
        yield from executor.map(_work, jobs, chunksize=chunk)


_reader: PairReader | None = None


def _start_worker(sources, settings, scope, imports) -> None:
    global _reader
    # Ctrl-C reaches all of them; the one that started them ends them
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)  # the processes share the cores already
    if imports:
        import_modules_from_strings(**imports)
    init_default_scope(scope)
    _reader = PairReader(sources, settings)


def _work(job: Job) -> PairFacts:
    return _reader(job)
