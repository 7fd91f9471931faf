"""One class that runs a trained network on frames, whatever runs it."""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import wait
from dataclasses import dataclass

import numpy as np
from mmengine.logging import print_log

from fastsegformer_mm.utils.background import AUTO, no_background

from .backends.artefact import read_card
from .backends.choice import (
    check_options,
    choose,
    choose_overlap,
    choose_streams,
    kind_of,
)
from .backends.make import make_backend
from .errors import DeployError
from .frames import FramesAsTheyAre, Preprocess
from .network import load_network
from .postprocess import MasksAsTheyAre, Postprocess
from .reparameterize import reparameterize
from .segmentation import Segmentation
from .threads import DaemonPool, ThreadShare

__all__ = ['DefectSegmentor', 'Segmentation']

# seconds that what takes milliseconds never takes; converting and compiling a network
# for a new size may take a minute on a busy machine
TIMEOUT = 120.0
# times as long for the first frame
FIRST = 10
# seconds that what runs is waited for after an interruption
MOMENT = 3.0


class DefectSegmentor:
    """Segments frames by a trained model, with the same results on every runtime.

    A config with its checkpoint is brought into the deploy form
    (:func:`~.reparameterize.reparameterize`) and converted in memory, once for each
    size of input; only 'torch' on the CPU runs it as it was trained, as what the others
    are compared with. A network is run as it is given.

    One frame is segmented at a time, which is the shortest way of that frame. More come
    through a second, each of them later, in two ways: with ``overlap`` the next frame
    is prepared, and the mask of the last one made, while the network runs; of several
    ``streams`` each has its share of the cores, which wait for each other at every
    layer otherwise. Calls from more than ``in_flight`` threads wait for each other.

    While a segmentor lives, PyTorch and OpenCV have one thread each in the whole
    process (:class:`~.threads.ThreadShare`); with PyTorch as the runtime it has
    ``threads``. ``close()``, or the end of a ``with``, gives them back.

    Args:
        model (str | Path | tuple): An exported artefact (.onnx or .xml); a config
            file, with ``checkpoint``; or (DeployNetwork, ModelCard).
        backend (str): 'torch', 'compile', 'onnxruntime' or 'openvino'. Defaults to
            'auto': see :func:`~.backends.choice.choose`.
        device (str): 'auto', 'cpu' or 'cuda:N'. On a GPU PyTorch replays CUDA graphs.
        threads (int, optional): CPU threads of the runtime. Defaults to None, all.
        precision (str): 'fp32', exact; 'bf16' (OpenVINO and PyTorch), 'fp16' (on a
            GPU) or 'int8' (artefacts). Defaults to 'auto': what an artefact was
            exported in, or float32 where the processor cannot; 'fp32' of a network.
            An artefact in float32 may be run in less, no other differently.
        checkpoint (str | Path, optional): Weights, where ``model`` is a config.
        cfg_options (dict, optional): Settings to override in the config.
        streams (int | str): Frames segmented side by side: with ONNX Runtime and
            OpenVINO on the CPU up to ``threads``. 'auto' is one a thread, 4 at most,
            with these, and 1 with the others. Defaults to 1.
        overlap (bool | str): Whether further frames, of a list, a generator or other
            threads' calls, are prepared and made into masks while the network runs:
            with ONNX Runtime and OpenVINO on the CPU. 'auto' is where it gains.
            Defaults to False.
        timeout (float): Seconds in which the network has to answer, from when a frame
            is ready for it; of a new size of input they include its conversion.
            Defaults to 120.

    Attributes:
        card (ModelCard): Classes, colours and sizes.
        streams (int): Frames that the network has side by side.
        overlap (bool): Whether others are prepared meanwhile.
        in_flight (int): Frames that are on the way at a time, from the first stage to
            the last.
        backend (Backend): Called with the image of ``preprocess``, it returns what
            ``postprocess`` takes. (An artefact with masks and without frames in its
            graph takes the frame's height and width after it, int64.)
        preprocess (Preprocess): From a frame to (image, placement).
        postprocess (Postprocess): From (logits, placement) to the mask.

    Raises:
        DeployError: There is no such model, runtime or device, or it cannot run the
            model as asked, or not as many streams, or nothing beside it. A call: the
            network has not answered in time, and no call after that is made.

    Example:
        >>> segmentor = DefectSegmentor('config.py', checkpoint='best.pth')
        >>> segmentor(cv2.imread('orange.jpg')).mask.shape
        (512, 512)
        >>> for found in segmentor(camera_frames()):
        ...     show(found.mask)
    """

    def __init__(
        self,
        model,
        backend: str = 'auto',
        device: str = 'auto',
        threads: int | None = None,
        precision: str = 'auto',
        checkpoint=None,
        cfg_options: dict | None = None,
        streams: int | str = 1,
        overlap: bool | str = False,
        timeout: float = TIMEOUT,
    ):
        check_options(backend, device, threads, precision)
        kind = kind_of(model, checkpoint, cfg_options)
        name, device = choose(kind, backend, device)
        self.streams = choose_streams(streams, name, device, threads)
        self.overlap = choose_overlap(overlap, name, device, threads, self.streams)
        # one in the network, and one that waits for it or whose mask is made
        self.in_flight = (2 if self.overlap else 1) * self.streams
        self.timeout, self._stuck = FIRST * timeout, None
        trained = kind == 'network' and not isinstance(model, tuple)
        network = model
        if kind != 'network':
            self.card = read_card(model)
        elif trained:
            network, self.card = load_network(model, checkpoint, cfg_options)
        else:
            network, self.card = model
        if trained and (name, device) != ('torch', 'cpu'):
            network = reparameterize(network, example=self.card.size)
        strict = precision != 'auto'
        precision = self._precision(kind, name, precision)
        # before the backend, which asks PyTorch for its number of threads
        self._share = ThreadShare(threads if name in ('torch', 'compile') else 1)
        # threads of its own: called from others in turn, the network would stand still
        # at each change, for as long as it takes to wake one up
        self._network = DaemonPool(self.streams, 'network')
        # kept: a new thread has to fetch its memory first
        self._pool = DaemonPool(self.in_flight, 'segmentor')
        card = self.card
        self.preprocess = (FramesAsTheyAre if card.with_pre else Preprocess)(card)
        self.postprocess = (MasksAsTheyAre if card.with_post else Postprocess)(card)
        self._lanes = queue.SimpleQueue()
        for slot in range(self.in_flight):
            self._lanes.put(Lane(slot))
        self._closing = threading.Lock()
        self.backend = None
        lanes = dict(streams=self.streams, slots=self.in_flight)
        options = (network, device, precision, threads, strict, card)
        try:
            self.backend = self._network.submit(
                self._in_share, make_backend, name, *options, lanes
            ).result()
            # the first calls of native libraries, one after the other: two at once
            # may wait for each other, one with Python's lock, which stops everything
            for _ in range(self.in_flight):
                self.segment(np.zeros((*card.size, 3), np.uint8))
            self.timeout = timeout
        except BaseException:
            self.close()
            raise
        if card.random_weights:
            print_log(
                f'{card.name} has random weights: its masks mean nothing',
                logger='current',
                level=30,
            )
        if card.background == AUTO and card.background_index is None:
            print_log(no_background(card.classes), logger='current', level=30)

    def _precision(self, kind, backend, wanted):
        """What to compute in, of what the model allows."""
        given = self.card.precision if kind != 'network' else 'fp32'
        if wanted in ('auto', given):
            return given
        # ONNX Runtime computes in what is written in the file
        written = kind == '.onnx' and backend == 'onnxruntime'
        if given != 'fp32' or wanted == 'int8' or written:
            raise DeployError(
                f'precision={wanted!r}: {self.card.name} is in {given}; expected '
                f"'auto' or {given!r}. Export it with tools/deployment/export.py "
                f'--precision {wanted}'
            )
        return wanted

    def __call__(self, frames):
        """Segment one frame, a list of frames, or whatever an iterator yields.

        Args:
            frames (np.ndarray | Sequence | Iterator): uint8 BGR of (H, W, 3).

        Returns:
            Segmentation | list[Segmentation] | Iterator[Segmentation]: One for one
            frame, a list for a list or tuple, a generator for a generator, in the
            order of the frames. It takes a frame only when the next result is asked
            for; where several are on the way, up to twice their number ahead of it.
        """
        if isinstance(frames, (list, tuple)):
            return list(self._stream(frames))
        # names, arrays and tensors can be gone through as well, and hold no frames
        single = isinstance(frames, (str, bytes)) or hasattr(frames, 'shape')
        if isinstance(frames, Iterable) and not single:
            return self._stream(frames)
        return self.segment(frames)

    def _stream(self, frames: Iterable) -> Iterator[Segmentation]:
        if self.in_flight == 1:
            for frame in frames:
                yield self.segment(frame)
            return
        frames, waiting = iter(frames), deque()
        broken, more = None, True
        while more or waiting:
            while more and len(waiting) < 2 * self.in_flight:
                try:
                    frame = next(frames)
                except StopIteration:
                    more = False
                except Exception as error:
                    # the frames before it come out first, as one at a time
                    broken, more = error, False
                else:
                    waiting.append(self._submit(frame))
            if waiting:
                yield waiting.popleft().result()
        if broken is not None:
            raise broken

    def _submit(self, frame):
        try:
            return self._pool.submit(self.segment, frame)
        except RuntimeError as error:
            raise self._closed() from error

    def segment(self, frame: np.ndarray) -> Segmentation:
        """Segment one frame."""
        lane = self._lanes.get()
        try:
            return self._segment(frame, lane)
        finally:
            self._lanes.put(lane)

    def _segment(self, frame, lane):
        self._check()
        self._share.ensure()
        start = time.perf_counter()
        lane.image, where = self.preprocess(frame, lane.image)
        prepared = time.perf_counter()
        inputs = self._inputs(lane.image, where)
        logits, network = self._infer(inputs, lane.slot)
        computed = time.perf_counter()
        mask = self.postprocess(logits, where)
        end = time.perf_counter()
        return Segmentation(
            mask,
            self.card,
            {
                'preprocess': prepared - start,
                'network': network,
                'postprocess': end - computed,
            },
        )

    def _infer(self, inputs, slot):
        """Logits, and the seconds that they took without waiting for their turn."""
        running = self._network.submit(self._in_share, self._timed, inputs, slot)
        try:
            wait([running], self.timeout)
        except BaseException:
            # interrupted, it still reads what the next frame would be written over
            wait([running], MOMENT)
            raise
        finally:
            if not running.done():
                self._stuck = (
                    f'{self.card.name}: the network has not answered within '
                    f'{self.timeout:g} s on {self.backend.name}; start again with '
                    'streams=1 (--streams 1) or another backend (--backend), or with '
                    'a longer timeout (--timeout) where it is only slow'
                )
        if not running.done():
            raise DeployError(self._stuck)
        return running.result()

    def _in_share(self, function, *args):
        """In a thread of its own, which has a number of PyTorch's threads as well."""
        self._share.ensure()
        return function(*args)

    def _timed(self, inputs, slot):
        start = time.perf_counter()
        logits = self.backend.infer(*inputs, slot=slot)
        return logits, time.perf_counter() - start

    def _check(self):
        """Raise a DeployError where no frame can be segmented any more."""
        if self._stuck:
            raise DeployError(self._stuck)
        if self.backend is None:
            raise self._closed()

    def _closed(self):
        return DeployError(
            f'the segmentor of {self.card.name} has been closed; make a new one'
        )

    def _inputs(self, image, where):
        """Of the runtime: a graph that ends in masks has to know their size."""
        if self.card.with_post and not self.card.with_pre:
            return image, np.array(where.frame, np.int64)
        return (image,)

    def describe(self) -> dict:
        """What runs, how: for reports of measurements.

        Returns:
            dict: 'model' (name of the card), 'checkpoint' and 'sha256' of its weights,
            'random_weights', 'backend', 'device', 'precision', 'threads', 'streams',
            'overlap' and 'versions' (by package).
        """
        return {
            'model': self.card.name,
            'checkpoint': self.card.checkpoint,
            'sha256': self.card.sha256,
            'random_weights': self.card.random_weights,
            'backend': self.backend.name,
            'device': self.backend.device,
            'precision': self.backend.precision,
            'threads': self.backend.threads,
            'streams': self.streams,
            'overlap': self.overlap,
            'versions': self.backend.versions(),
        }

    def close(self) -> None:
        """Let go of the network, and give PyTorch and OpenCV their threads back."""
        with self._closing:
            self._pool.shutdown()
            # what is being segmented is completed
            lanes = [self._lanes.get() for _ in range(self.in_flight)]
            self._network.shutdown()
            # a call that does not return keeps its memory
            if self.backend is not None and not self._stuck:
                self.backend.close()
            self.backend = None
            self._share.close()
            for lane in lanes:
                self._lanes.put(lane)

    def __enter__(self) -> 'DefectSegmentor':
        return self

    def __exit__(self, *exc_info) -> None:
        self.close()


@dataclass
class Lane:
    """What one frame at a time goes through.

    Attributes:
        slot (int): Number of the runtime's memory for its output.
        image (np.ndarray, optional): Memory of the network's input.
    """

    slot: int
    image: np.ndarray | None = None
