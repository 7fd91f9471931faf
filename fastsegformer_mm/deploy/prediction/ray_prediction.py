"""A prediction by several workers, on one machine or many."""

import contextlib
import json
import math
import os
import shutil
import threading
import time
import warnings
from collections.abc import Callable, Iterable

from ..errors import DeployError
from .finish import Finished, FrameSettings
from .frame import Frame
from .input_error import InputError
from .inputs import Inputs
from .outcome import Outcome
from .ray_session import check_room, ray_session
from .ray_worker import NOTES, RayWorker
from .result_writer import ResultWriter, StreamSettings
from .run_folder import MANIFEST, PARTS, RunFolder

# batches that an actor has at hand
IN_FLIGHT = 2


class RayPrediction:
    """Runs segmentors over image files by Ray Data and collects what they find.

    Workers read images and write masks and overlays; records come back here, and
    this process alone writes them. Where a worker is killed, Ray starts it again and
    repeats the batches that it had: each image is in the records once all the same.

    Args:
        build (Callable): Makes a segmentor in each worker.
        inputs (Inputs): Image files, under the same absolute paths on all machines.
        folder (RunFolder): Where to, entered, and shared by all machines.
        settings (FrameSettings): What is made of a frame.
        address (str, optional): Of a cluster. Defaults to None: Ray is started here.
        workers (int, optional): Processes with a segmentor each. Defaults to None, as
            many as there are CPUs for.
        cpus (float): Of each worker. Defaults to 1.
        gpus (float): Of each worker; parts of one are possible. Defaults to 0.
        batch_size (int): Images that a worker gets at a time, and that are repeated
            when it dies. Defaults to 8.
        retries (int): How often an image is tried again whose worker has died, before
            the run goes on without it. Defaults to 2.
        restarts (int): How often the process of one worker is started again, before
            the run ends. Defaults to 20.
        stop (threading.Event, optional): Ends the run in order when it is set.
        progress (Callable, optional): Called after each frame and failure with the
            :class:`Outcome` so far.

    Raises:
        DeployError: There is a video or a camera among the inputs.

    Example:
        >>> build = functools.partial(DefectSegmentor, '/plant/model.onnx', threads=1)
        >>> with RunFolder('/plant/results', {}) as folder:
        ...     outcome = RayPrediction(build, find_inputs(['/plant/photos']), folder,
        ...                             workers=2).run()
    """

    def __init__(
        self,
        build: Callable,
        inputs: Inputs,
        folder: RunFolder,
        settings: FrameSettings | None = None,
        address: str | None = None,
        workers: int | None = None,
        cpus: float = 1.0,
        gpus: float = 0.0,
        batch_size: int = 8,
        retries: int = 2,
        restarts: int = 20,
        stop: threading.Event | None = None,
        progress: Callable | None = None,
    ):
        check_images(inputs)
        self.build, self.inputs, self.folder = build, inputs, folder
        self.settings = settings or FrameSettings()
        self.address, self.workers, self.cpus, self.gpus = address, workers, cpus, gpus
        self.batch_size, self.retries = batch_size, retries
        self.restarts = restarts
        self.stop = stop or threading.Event()
        self.outcome = Outcome()
        self._progress = progress or (lambda outcome: None)

    def run(self) -> Outcome:
        """Work off all inputs; where all are done, Ray is not started.

        Returns:
            Outcome: Also when it was stopped or broke off; files and records are
            complete up to there.

        Raises:
            DeployError: Ray cannot be used as asked.
        """
        outcome = self.outcome
        self.folder.resume(self.inputs.sources)
        sources = [s for s in self.inputs.sources if s.origin not in self.folder.done]
        outcome.skipped = len(self.inputs.sources) - len(sources)
        start = time.perf_counter()
        notes = self.folder.path / NOTES
        shutil.rmtree(notes, ignore_errors=True)
        with contextlib.closing(ResultWriter(self.folder, StreamSettings())) as writer:
            for error in self.inputs.failures:
                writer.fail(error)
                self.outcome.fail(error)
            if sources:
                notes.mkdir()
                try:
                    self._run(sources, writer)
                finally:
                    shutil.rmtree(notes, ignore_errors=True)
                    self._remove_leftovers()
        outcome.seconds = time.perf_counter() - start
        return outcome

    def _run(self, sources, writer):
        count = self.workers or max(int((os.cpu_count() or 1) // self.cpus), 1)
        with ray_session(self.address, count * self.cpus) as ray:
            count = check_room(ray, self.workers, self.cpus, self.gpus)
            batches = self._batches(ray, sources, count)
            try:
                with contextlib.closing(batches):
                    self.collect(batches, sources, writer)
            except ray.exceptions.RayError as error:
                lines = [line.strip() for line in str(error).splitlines()]
                self.outcome.error = DeployError(
                    f'a worker could not go on: {"; ".join(filter(None, lines))}. If '
                    'it was killed, look for too little memory (fewer --workers)'
                )
            except (DeployError, OSError) as error:
                self.outcome.error = error

    def _batches(self, ray, sources, count):
        """Yield what comes back, batch by batch, in any order."""
        items = [vars(source) for source in sources]
        data = ray.data.from_items(
            # a block is a batch
            items,
            override_num_blocks=math.ceil(len(items) / self.batch_size),
        )
        data.context.enable_progress_bars = False
        data.context.print_on_execution_start = False
        with warnings.catch_warnings():
            # restarts have no other argument yet, and are without end by default
            warnings.simplefilter('ignore', ray.util.annotations.RayDeprecationWarning)
            data = data.map_batches(
                RayWorker,
                batch_size=None,
                batch_format='numpy',
                compute=ray.data.ActorPoolStrategy(
                    size=count, max_tasks_in_flight_per_actor=IN_FLIGHT
                ),
                fn_constructor_kwargs={
                    'build': self.build,
                    'settings': self.settings,
                    'folder': str(self.folder.path.absolute()),
                    'manifest': (self.folder.path / MANIFEST).read_bytes(),
                    'retries': self.retries,
                },
                num_cpus=self.cpus,
                num_gpus=self.gpus,
                max_restarts=self.restarts,
            )
        for batch in data.iter_batches(
            batch_size=None, batch_format='numpy', prefetch_batches=0
        ):
            yield batch['row']

    def collect(self, batches: Iterable, sources: list, writer: ResultWriter) -> None:
        """Write down what comes back, each image once.

        Args:
            batches (Iterable): Of rows as :class:`RayWorker` gives them.
            sources (list): What is expected.
            writer (ResultWriter): Where to.

        Raises:
            DeployError: A worker tells of an error, or images have not come back.
        """
        waiting = {source.origin: source.name for source in sources}
        for rows in batches:
            for row in map(json.loads, rows):
                if 'error' in row:
                    raise DeployError(row['error'])
                name = waiting.pop(row['origin'], None)
                if name is not None:
                    self._write(row, name, writer)
                    self._progress(self.outcome)
            if self.stop.is_set():
                return
        if waiting:
            raise DeployError(
                f'{len(waiting)} images did not come back, {next(iter(waiting))} among '
                'them'
            )

    def _write(self, row, name, writer):
        if 'failure' in row:
            error = InputError(*row['failure'])
            writer.fail(error)
            self.outcome.fail(error)
            return
        writer.write(Finished(Frame(None, row['origin'], name), row['record']))
        self.outcome.add(row['origin'], row['seconds'], row['remark'])

    def _remove_leftovers(self):
        """What killed workers had begun to write."""
        for part in PARTS:
            for leftover in (self.folder.path / part).rglob('.*.tmp*'):
                leftover.unlink(missing_ok=True)


def check_images(inputs: Inputs) -> None:
    """Raise where there is anything but image files.

    Args:
        inputs (Inputs): Of a prediction.

    Raises:
        DeployError: There is a video or a camera.
    """
    others = [source for source in inputs.sources if source.kind != 'image']
    if others:
        raise DeployError(
            f'{others[0].origin}: a {others[0].kind} source, which many workers cannot '
            f'share ({len(others)} of {len(inputs.sources)} inputs are); expected '
            'images only, as by a glob. tools/predict.py reads videos and cameras'
        )
