"""Artefacts in the making, one class a format."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..backends.base import Backend
from ..backends.onnxruntime_backend import OnnxRuntimeBackend
from ..backends.openvino_backend import OpenVinoBackend
from ..model_card import ModelCard
from . import onnx_graph, openvino_graph
from .parts import Part


class OnnxBuild:
    """An .onnx in the making.

    Args:
        part (Part): The network.
        card (ModelCard): Of the artefact.
        folder (Path): For files.
        threads (int, optional): CPU threads to run it with.
    """

    def __init__(self, part: Part, card: ModelCard, folder: Path, threads=None):
        self.card = card
        self.threads = threads
        self.network = folder / 'network.onnx'
        self.model = folder / 'model.onnx'
        onnx_graph.to_onnx(part, self.network)
        if card.precision == 'fp16':
            onnx_graph.to_half(self.network)

    def quantize(self, images: Iterable[np.ndarray], accuracy=None, max_drop=None):
        """Turn the network to INT8."""
        from ..quantization import quantize_onnx

        plain = self.network.with_name('plain.onnx')
        self.network.rename(plain)
        quantize_onnx(plain, self.network, images)

    def run_network(self) -> Backend:
        """The network alone."""
        return self._backend(self.network)

    def finish(self, before: Part | None, after: Part | None) -> Backend:
        """Write the artefact, and run it."""
        paths = []
        for part, name in ((before, 'before'), (after, 'after')):
            path = self.network.with_name(f'{name}.onnx') if part else None
            if part:
                onnx_graph.to_onnx(part, path)
            paths.append(path)
        onnx_graph.join(self.network, *paths, self.model)
        onnx_graph.set_card(self.model, self.card)
        return self._backend(self.model)

    def _backend(self, path):
        return OnnxRuntimeBackend(path, 'cpu', self.card.precision, self.threads)


class OpenVinoBuild:
    """An .xml with its .bin in the making.

    Args:
        part (Part): The network.
        card (ModelCard): Of the artefact.
        folder (Path): For files.
        threads (int, optional): CPU threads to run it with.
    """

    def __init__(self, part: Part, card: ModelCard, folder: Path, threads=None):
        self.card = card
        self.threads = threads
        self.folder = folder
        self.model = folder / 'model.xml'
        self.network = openvino_graph.to_openvino(part)

    def quantize(
        self,
        images: Iterable[np.ndarray],
        accuracy: Callable[[Backend], float] | None = None,
        max_drop: float | None = None,
    ):
        """Turn the network to INT8.

        Args:
            images (Iterable[np.ndarray]): To calibrate with.
            accuracy (Callable, optional): From a running network to its mIoU.
            max_drop (float, optional): Points of it that may be lost.
        """
        from ..quantization import quantize_openvino, quantized_layers

        figure = None
        if accuracy is not None:

            def figure(model):
                # what may be lost is counted from float32
                precision = self.card.precision if quantized_layers(model) else 'fp32'
                infer = self._backend(model, 'tried', precision)
                try:
                    return accuracy(infer)
                finally:
                    infer.close()

        self.network = quantize_openvino(
            self.network, images, accuracy=figure, max_drop=max_drop
        )

    def run_network(self) -> Backend:
        """The network alone."""
        return self._backend(self.network, 'network')

    def finish(self, before: Part | None, after: Part | None) -> Backend:
        """Write the artefact, and run it."""
        parts = [openvino_graph.to_openvino(p) if p else None for p in (before, after)]
        self.network = openvino_graph.join(self.network, *parts)
        return self._backend(self.network, 'model')

    def _backend(self, model, name, precision=None):
        path = self.folder / f'{name}.xml'
        openvino_graph.save(model, path, self.card)
        # a processor that does not know the precision computes in float32
        return OpenVinoBackend(
            path, 'cpu', precision or self.card.precision, self.threads, strict=False
        )


BUILDS = {'onnx': OnnxBuild, 'openvino': OpenVinoBuild}
