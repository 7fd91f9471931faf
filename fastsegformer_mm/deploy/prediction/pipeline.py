"""Reading, network and writing side by side."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import cv2

from .channel import Channel
from .finish import FrameSettings, finish_frame
from .input_error import InputError, fault_of
from .inputs import Inputs
from .outcome import Outcome
from .result_writer import ResultWriter, StreamSettings
from .run_folder import RunFolder


@dataclass(frozen=True)
class _End:
    """A video or stream has ended; why, if not by its own end."""

    error: InputError | None
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
        # videos that are read no further
        self._given_up = set()
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
                frame = self._pool.submit(source.read, self.settings.depth)
                if not self._frames.put((source, frame)):
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
                    if source.origin in self._given_up:
                        break
                    if not self._frames.put((source, frame), newest=live):
                        return False
        except InputError as problem:
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
                except InputError as error:
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
        with fault_of(frame.origin):
            found = self.segmentor.segment(frame.image)
        return self._pool.submit(finish_frame, frame, found, self.settings)

    def _write(self):
        with contextlib.closing(ResultWriter(self.folder, self.streams)) as writer:
            for error in self.inputs.failures:
                writer.fail(error)
                self.outcome.fail(error)
            for source, item in self._results:
                if source.origin in self._given_up:
                    continue
                try:
                    if isinstance(item, Future):
                        # of the network, and of what is made of it
                        item = item.result().result()
                    self._write_one(writer, source, item)
                except InputError as error:
                    # a camera's next frame would fail as well, and without end
                    if source.kind == 'live' and not isinstance(item, _End):
                        raise
                    self._give_up(writer, source, error)
                self._progress(self.outcome)

    def _write_one(self, writer, source, item):
        if isinstance(item, _End):
            writer.end(source, item.complete)
            if item.error is not None:
                raise item.error
            return
        start = time.perf_counter()
        writer.write(item)
        item.seconds['writing'] = time.perf_counter() - start
        self.outcome.add(source.origin, item.seconds, item.remark)

    def _give_up(self, writer, source, error):
        """Go on without an image, or without the rest of a video."""
        if source.kind == 'video':
            self._given_up.add(source.origin)
            writer.end(source, complete=False)
        writer.fail(error)
        self.outcome.fail(error)
