"""Reading, network and writing side by side."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2

from .channel import Channel
from .finish import FrameSettings, finish_frame
from .frame import ReadError
from .inputs import Inputs
from .result_writer import ResultWriter, StreamSettings
from .run_folder import RunFolder

# kept in memory; all are in the file
MOST_FAILURES = 50


@dataclass
class Outcome:
    """What has become of a prediction.

    Attributes:
        frames (int): Frames in the records, those of earlier runs not counted.
        skipped (int): Files that an earlier run had done.
        failed (int): Files and streams that could not be read.
        failures (list[tuple[str, str]]): The first of them, with the reasons.
        dropped (int): Frames of a live stream that newer ones have replaced.
        interrupted (bool): By Ctrl-C or a signal.
        error (BaseException): What ended the run, None where nothing did.
        seconds (float): From the first file to the last.
        stages (dict[str, float]): Seconds of each stage, all frames together.
        waiting (dict[str, int]): Most items that have waited for 'network' and
            'writing'.
        streams (int): Frames that the network has had side by side.
    """

    frames: int = 0
    skipped: int = 0
    failed: int = 0
    failures: list = field(default_factory=list)
    dropped: int = 0
    interrupted: bool = False
    error: BaseException | None = None
    seconds: float = 0.0
    stages: dict = field(default_factory=dict)
    waiting: dict = field(default_factory=dict)
    streams: int = 1

    def means(self) -> dict[str, float]:
        """Seconds of each stage a frame."""
        return {k: v / self.frames for k, v in self.stages.items() if self.frames}


@dataclass(frozen=True)
class _End:
    """A video or stream has ended; why, if not by its own end."""

    error: ReadError | None
    complete: bool


class Prediction:
    """Runs a segmentor over inputs and writes what it finds.

    One thread reads, the caller's runs the network, one writes; images are decoded
    and results drawn by ``workers`` more. A segmentor that has several frames on the
    way is run by as many threads. What waits between them is bounded, so that memory is
    too, however long a stream is. Of a live stream only the newest frame waits.

    Args:
        segmentor (DefectSegmentor): Anything with ``segment(frame)`` and ``card``, and
            with ``in_flight`` if so many threads may call it side by side, and with
            ``streams`` if its network does.
        inputs (Inputs): What to read.
        folder (RunFolder): Where to, entered.
        settings (FrameSettings): What is made of a frame.
        streams (StreamSettings): Of videos and live streams.
        workers (int, optional): Threads that decode and draw. Defaults to None: as
            many as CPUs, 4 at most.
        waiting (int): Frames that wait for the network at most, and results that
            wait for being written. Defaults to 4.
        stop (threading.Event, optional): Ends the run in order when it is set.
        progress (Callable, optional): Called after each frame and failure with the
            :class:`Outcome` so far.
        say (Callable): Told in one line of lost connections and the like.

    Example:
        >>> with RunFolder(out, {}) as folder:
        ...     outcome = Prediction(segmentor, find_inputs(['photos']), folder).run()
    """

    def __init__(
        self,
        segmentor,
        inputs: Inputs,
        folder: RunFolder,
        settings: FrameSettings | None = None,
        streams: StreamSettings | None = None,
        workers: int | None = None,
        waiting: int = 4,
        stop: threading.Event | None = None,
        progress: Callable | None = None,
        say: Callable = print,
    ):
        self.segmentor, self.folder = segmentor, folder
        self.inputs = inputs
        self.settings = settings or FrameSettings()
        self.streams = streams or StreamSettings()
        self.stop = stop or threading.Event()
        self.outcome = Outcome(streams=getattr(segmentor, 'streams', 1))
        self._workers = workers or min(4, os.cpu_count() or 1)
        self._progress, self._say = progress or (lambda outcome: None), say
        self._frames = Channel(waiting, self.stop)
        self._taken, self._turn = iter(self._frames), threading.Lock()
        # what was segmented is written even if the run is stopped
        self._results = Channel(waiting)

    def run(self) -> Outcome:
        """Work off all inputs.

        Returns:
            Outcome: Also when it was stopped or broke off; files and records are
            complete up to there.
        """
        outcome = self.outcome
        self.folder.resume(self.inputs.sources)
        sources = [s for s in self.inputs.sources if s.origin not in self.folder.done]
        outcome.skipped = len(self.inputs.sources) - len(sources)
        start = time.perf_counter()
        threads = cv2.getNumThreads()
        # its pool and the runtime's would fight over the same cores
        cv2.setNumThreads(1)
        self._pool = ThreadPoolExecutor(self._workers, 'prediction')
        reader = threading.Thread(target=self._guard, args=(self._read, sources))
        writer = threading.Thread(target=self._guard, args=(self._write,))
        others = [
            threading.Thread(target=self._guard, args=(self._segment,))
            for _ in range(getattr(self.segmentor, 'in_flight', 1) - 1)
        ]
        # a camera's driver that hangs must not keep the process
        for thread in (reader, writer, *others):
            thread.daemon = True
        try:
            for thread in (writer, reader, *others):
                thread.start()
            self._guard(self._segment)
            for thread in others:
                thread.join()
            self._results.close()
            writer.join()
            reader.join(15)
        finally:
            # also after a second Ctrl-C
            self.stop.set()
            self._results.close()
            writer.join(15)
            self._pool.shutdown(wait=False, cancel_futures=True)
            cv2.setNumThreads(threads)
        outcome.seconds = time.perf_counter() - start
        outcome.dropped = self._frames.dropped
        outcome.waiting = {
            'network': self._frames.longest,
            'writing': self._results.longest,
        }
        return outcome

    def _guard(self, stage, *args):
        """Run a stage; whatever it dies of ends the others."""
        try:
            stage(*args)
        except Exception as error:
            self.outcome.error = self.outcome.error or error
            self.stop.set()
            self._frames.abort()
            if stage == self._write:
                self._results.abort()

    def _read(self, sources):
        for source in sources:
            if source.kind == 'image':
                if not self._frames.put((source, self._pool.submit(source.read))):
                    return
            elif not self._read_stream(source):
                return
        self._frames.close()

    def _read_stream(self, source) -> bool:
        live = source.kind == 'live'
        more = {}
        if live:
            first = self.folder.next_frame.get(source.origin, 0)
            more = dict(first=first, stop=self.stop, say=self._say)
        error = None
        try:
            frames = source.frames(self.streams.every, self.streams.most, **more)
            with contextlib.closing(frames):
                for frame in frames:
                    if not self._frames.put((source, frame), newest=live):
                        return False
        except ReadError as problem:
            error = problem
        return self._frames.put((source, _End(error, error is None)))

    def _segment(self):
        while True:
            # a frame is taken and its result promised at once: they keep their order
            with self._turn:
                entry = next(self._taken, None)
                if entry is None:
                    return
                source, item = entry
                result = item if isinstance(item, _End) else Future()
                if not self._results.put((source, result)):
                    return
            if result is not item:
                try:
                    result.set_result(self._segment_one(item))
                except ReadError as error:
                    result.set_exception(error)
                except Exception as error:
                    # whoever writes must not wait for it
                    result.set_exception(error)
                    raise
                except BaseException:
                    result.cancel()
                    raise

    def _segment_one(self, item):
        frame = item.result() if isinstance(item, Future) else item
        found = self.segmentor.segment(frame.image)
        return self._pool.submit(finish_frame, frame, found, self.settings)

    def _write(self):
        with contextlib.closing(ResultWriter(self.folder, self.streams)) as writer:
            for source, item in self._results:
                if isinstance(item, Future):
                    try:
                        # of the network, and of what is made of it
                        item = item.result().result()
                    except ReadError as error:
                        # one for a whole video would be wrong in every frame
                        if source.kind != 'image':
                            raise
                        item = error
                self._write_one(writer, source, item)
                self._progress(self.outcome)

    def _write_one(self, writer, source, item):
        outcome = self.outcome
        if isinstance(item, _End):
            writer.end(source, item.complete)
            item = item.error
            if item is None:
                return
        if isinstance(item, ReadError):
            outcome.failed += 1
            if outcome.failed <= MOST_FAILURES:
                outcome.failures.append((item.origin, item.reason))
            writer.fail(item)
            return
        start = time.perf_counter()
        writer.write(item)
        item.seconds['writing'] = time.perf_counter() - start
        for stage, seconds in item.seconds.items():
            outcome.stages[stage] = outcome.stages.get(stage, 0.0) + seconds
        outcome.frames += 1


@contextlib.contextmanager
def stopped_by_signals(stop: threading.Event, say: Callable = print):
    """Ctrl-C, a kill and a closed terminal set ``stop``; a second one interrupts.

    Args:
        stop (threading.Event): Of the :class:`Prediction`.
        say (Callable): Told that it ends.

    Yields:
        list[int]: Signals that have come.
    """
    came = []

    def handle(number, frame):
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        stop.set()
        say('stopping: what is in work is completed; again to stop at once')

    names = [signal.SIGINT, signal.SIGTERM]
    # nohup's wish is respected
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        names.append(signal.SIGHUP)
    before = {name: signal.signal(name, handle) for name in names}
    try:
        yield came
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
