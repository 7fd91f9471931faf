"""One combination as a worker holds it: built, timed stage by stage, looked at."""

import gc
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch

from ..errors import DeployError
from ..frames import Preprocess
from ..network import load_network
from ..postprocess import Postprocess
from ..reparameterize import reparameterize
from ..segmentor import DefectSegmentor
from .combination import EAGER, REFERENCE, REPARAM, Combination
from .reference_loop import ReferenceLoop

STAGES = ('preprocess', 'network', 'postprocess', 'pipeline')
# frames of a stream that are timed at once: few, and beginning and end would weigh
BURST = 16
# random weights are the same in every process
SEED = 0


class Eager:
    """A network in PyTorch as it is, nothing folded, compiled or converted.

    Args:
        network (DeployNetwork): From the image to the logits.
        card (ModelCard): Its.
        device (str): 'cpu' or 'cuda:N'.
    """

    def __init__(self, network, card, device: str = 'cpu'):
        self.card = card
        self.device = torch.device(device)
        self.network = network.to(self.device).eval()
        self.preprocess = Preprocess(card)
        self.postprocess = Postprocess(card)
        self._image = None

    @torch.inference_mode()
    def backend(self, image: np.ndarray) -> np.ndarray:
        """(1, 3, h, w) float32 -> logits (1, C, h, w) float32."""
        return self.network(torch.from_numpy(image).to(self.device)).cpu().numpy()

    def segment(self, frame: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 -> (H, W) uint8."""
        self._image, where = self.preprocess(frame, self._image)
        return self.postprocess(self.backend(self._image), where)


def build(combination: Combination, threads: int, device: str, cfg_options=None):
    """What segments frames by a combination.

    Args:
        combination (Combination): The network, runtime and precision.
        threads (int): Of the runtime, and of PyTorch and OpenCV where they run it.
        device (str): 'cpu' or 'cuda:N'.
        cfg_options (dict, optional): Settings to override in the config.

    Returns:
        tuple: With ``preprocess``, ``backend``, ``postprocess``, ``segment`` and
        ``card``; and the network as it was trained, None of an artefact.

    Raises:
        DeployError: The runtime cannot run it so.
    """
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    model = combination.model
    at_a_time = {}
    if combination.streams:
        at_a_time = {'streams': combination.streams, 'overlap': 'auto'}
    if model.artefact:
        return (
            DefectSegmentor(
                model.source, combination.backend, device, threads, **at_a_time
            ),
            None,
        )
    torch.manual_seed(SEED)
    network, card = load_network(
        model.source, model.checkpoint, cfg_options, allow_random=True
    )
    passes = combination.passes
    if passes is None and combination.backend in (EAGER, REFERENCE):
        passes = ()  # as it was trained
    chosen = network if passes == () else reparameterize(network, passes, card.size)
    if combination.backend == REFERENCE:
        if device != 'cpu':
            raise DeployError(
                f'the reference loop is measured on the CPU, not on {device}; leave it '
                'out of --backends'
            )
        return ReferenceLoop(network, card), network
    eager = combination.backend in (EAGER, REPARAM)
    if eager and combination.precision == 'fp32':
        return Eager(chosen, card, device), network
    return (
        DefectSegmentor(
            (chosen, card),
            EAGER if eager else combination.backend,
            device,
            threads,
            combination.precision,
            **at_a_time,
        ),
        network,
    )


class Subject:
    """Times the stages of a segmentor on frames that come in turns.

    Of a segmentor that has several frames on the way, 'network' and 'pipeline' are the
    time of ``BURST`` frames a stream, divided by their number; the network has as many
    of them side by side in both.

    Args:
        segmentor: With ``preprocess``, ``backend``, ``postprocess``, ``segment``;
            with ``in_flight`` above 1 it is called with a list.
        frames (Sequence[np.ndarray]): uint8 (H, W, 3).
        clock (Callable): Seconds. Defaults to ``time.perf_counter``.
    """

    def __init__(
        self, segmentor, frames: Sequence, clock: Callable = time.perf_counter
    ):
        self.segmentor = segmentor
        self.streams = getattr(segmentor, 'streams', 1)
        self.in_flight = getattr(segmentor, 'in_flight', 1)
        self.frames = list(frames)
        self.clock = clock
        # what a stream of frames calls, without a copy of the logits
        self._infer = getattr(segmentor.backend, 'infer', segmentor.backend)
        # copied: a runtime may hand out the same buffer again
        self._images, self._places, self._logits = [], [], []
        for frame in self.frames:
            image, place = segmentor.preprocess(frame)
            image = np.array(image)
            out = self._infer(image)
            self._images.append(image)
            self._places.append(place)
            self._logits.append(out.clone() if torch.is_tensor(out) else np.array(out))

    def measure(self, warmups: int, runs: int) -> dict[str, list[float]]:
        """Seconds of ``runs`` runs of each stage, each after ``warmups`` of it.

        'preprocess', 'network' and 'postprocess' are run apart on inputs that are
        ready; 'pipeline' is all of it, from the frame to the mask.
        """
        buffer, _ = self.segmentor.preprocess(self.frames[0])
        tasks = {
            'preprocess': lambda i: self.segmentor.preprocess(self.frames[i], buffer),
            'network': lambda i: self._infer(self._images[i]),
            'postprocess': lambda i: self.segmentor.postprocess(
                self._logits[i], self._places[i]
            ),
            'pipeline': lambda i: self.segmentor.segment(self.frames[i]),
        }
        if self.in_flight == 1:
            return {stage: self._time(tasks[stage], warmups, runs) for stage in STAGES}
        with ThreadPoolExecutor(self.streams) as pool:
            tasks['network'] = lambda i: self._network_burst(pool, i)
            tasks['pipeline'] = self._pipeline_burst
            return {
                stage: self._time(
                    tasks[stage],
                    warmups,
                    runs,
                    BURST * self.streams if stage in ('network', 'pipeline') else 1,
                )
                for stage in STAGES
            }

    def _network_burst(self, pool, first):
        def work(stream):
            for i in range(BURST):
                image = self._images[(first + i) % len(self._images)]
                self._infer(image, slot=stream)

        list(pool.map(work, range(self.streams)))

    def _pipeline_burst(self, first):
        count = len(self.frames)
        self.segmentor(
            [self.frames[(first + i) % count] for i in range(BURST * self.streams)]
        )

    def _time(self, task, warmups, runs, frames=1):
        count = len(self.frames)
        for i in range(-(-warmups // frames)):
            task(i % count)
        gc.collect()
        seconds = []
        for i in range(runs):
            start = self.clock()
            task(i % count)
            seconds.append(round((self.clock() - start) / frames, 9))
        return seconds

    def outputs(self) -> dict[str, np.ndarray]:
        """'masks' (N, H, W) uint8 and, unless masks are all it gives, 'logits'."""
        out = {'masks': np.stack([self.mask(frame) for frame in self.frames])}
        logits = [np.asarray(x, np.float32) for x in self._logits]
        if not getattr(self.segmentor.card, 'with_post', False):
            out['logits'] = np.concatenate(logits)
        return out

    def mask(self, frame: np.ndarray) -> np.ndarray:
        """(H, W) uint8 of one frame."""
        found = self.segmentor.segment(frame)
        return np.array(getattr(found, 'mask', found))
