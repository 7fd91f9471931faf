"""One class that runs a trained network on frames, whatever runs it."""

import os
import time
from collections.abc import Iterable, Iterator

import numpy as np

from .backends.torch_backend import TorchBackend
from .errors import DeployError
from .frames import Postprocess, Preprocess
from .network import load_network
from .segmentation import Segmentation


class DefectSegmentor:
    """Segments frames by a trained model, with the same results on every runtime.

    Args:
        model (str | Path | tuple): An exported artefact (.onnx or .xml); a config
            file, with ``checkpoint``; or (DeployNetwork, ModelCard).
        backend (str): 'auto', 'torch', 'compile', 'onnxruntime' or 'openvino'.
        device (str): 'auto', 'cpu' or 'cuda:N'.
        threads (int, optional): CPU threads of the runtime. Defaults to None, all.
        precision (str): 'auto', 'fp32', 'bf16', 'fp16' or 'int8'.
        checkpoint (str | Path, optional): Weights, where ``model`` is a config.
        cfg_options (dict, optional): Settings to override in the config.

    Example:
        >>> segmentor = DefectSegmentor('config.py', checkpoint='best.pth')
        >>> segmentor(cv2.imread('orange.jpg')).mask.shape
        (512, 512)
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
    ):
        if isinstance(model, tuple):
            network, self.card = model
        elif os.fspath(model).endswith('.py'):
            network, self.card = load_network(model, checkpoint, cfg_options)
        else:
            raise DeployError(f'{model}: expected a config')
        self.backend = TorchBackend(network)
        self.preprocess = Preprocess(self.card)
        self.postprocess = Postprocess(self.card)

    def __call__(self, frames):
        """Segment one frame, a list of frames, or whatever an iterator yields.

        Args:
            frames (np.ndarray | Sequence | Iterator): uint8 BGR of (H, W, 3).

        Returns:
            Segmentation | list[Segmentation] | Iterator[Segmentation]: One for one
            frame, a list for a list or tuple, a generator for a generator.
        """
        if isinstance(frames, np.ndarray):
            return self.segment(frames)
        if isinstance(frames, (list, tuple)):
            return [self.segment(frame) for frame in frames]
        if isinstance(frames, Iterable):
            return self._stream(frames)
        return self.segment(frames)

    def _stream(self, frames: Iterable) -> Iterator[Segmentation]:
        for frame in frames:
            yield self.segment(frame)

    def segment(self, frame: np.ndarray) -> Segmentation:
        """Segment one frame."""
        start = time.perf_counter()
        image, where = self.preprocess(frame)
        prepared = time.perf_counter()
        logits = self.backend(image)
        computed = time.perf_counter()
        mask = self.postprocess(logits, where)
        end = time.perf_counter()
        return Segmentation(
            mask,
            self.card,
            {
                'preprocess': prepared - start,
                'network': computed - prepared,
                'postprocess': end - computed,
            },
        )
