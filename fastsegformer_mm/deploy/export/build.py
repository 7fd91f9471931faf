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

    def quantize(self, images: Iterable[np.ndarray]):
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

    def quantize(self, images: Iterable[np.ndarray]):
        """Turn the network to INT8."""
        from ..quantization import quantize_openvino

        self.network = quantize_openvino(self.network, images)

    def quantize_within(
        self,
        images: Iterable[np.ndarray],
        max_drop: float,
        figure: float,
        accuracy: Callable[[Backend], float],
        before: Part | None,
        after: Part | None,
    ):
        """The same, with layers in float where the artefact would lose too much.

        Args:
            images (Iterable[np.ndarray]): To calibrate with.
            max_drop (float): Points that may be lost.
            figure (float): Of MMSegmentation, in float32.
            accuracy (Callable): From an artefact, as it will run, to its figure.
            before (Part, optional): As :meth:`finish`.
            after (Part, optional): As :meth:`finish`.
        """
        from ..quantization import quantize_openvino

        trained = self.network

        def measure(model):
            if model is trained:
                return figure
            infer = self._artefact(model.clone(), before, after)
            try:
                return accuracy(infer)
            finally:
                infer.close()

        self.network = quantize_openvino(
            trained, images, accuracy=measure, max_drop=max_drop
        )

    def run_network(self) -> Backend:
        """The network alone."""
        return self._backend(self.network, 'network')

    def finish(self, before: Part | None, after: Part | None) -> Backend:
        """Write the artefact, and run it."""
        return self._artefact(self.network, before, after)

    def _artefact(self, network, before, after):
        """Of a network, which is taken apart."""
        parts = [openvino_graph.to_openvino(p) if p else None for p in (before, after)]
        return self._backend(openvino_graph.join(network, *parts), 'model')

    def _backend(self, model, name):
        path = self.folder / f'{name}.xml'
        openvino_graph.save(model, path, self.card)
        # a processor that does not know the precision computes in float32
        return OpenVinoBackend(
            path, 'cpu', self.card.precision, self.threads, strict=False
        )


BUILDS = {'onnx': OnnxBuild, 'openvino': OpenVinoBuild}
