"""The models of the page, loaded once and run one frame at a time."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastsegformer_mm.deploy.errors import DeployError
from fastsegformer_mm.deploy.model_card import ModelCard
from fastsegformer_mm.deploy.segmentation import Segmentation
from fastsegformer_mm.deploy.segmentor import DefectSegmentor

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSource:
    """Where a model comes from.

    Args:
        model (str): An artefact, .onnx or .xml, or a config file.
        checkpoint (str, optional): Weights of a config.

    Example:
        >>> try:
        ...     ModelSource.parse('model.tflite')
        ... except DeployError as error:
        ...     print(error)
        model.tflite: expected MODEL.onnx, MODEL.xml or CONFIG.py=CHECKPOINT.pth
    """

    model: str
    checkpoint: str | None = None

    @classmethod
    def parse(cls, text: str) -> 'ModelSource':
        """The source of MODEL.onnx, MODEL.xml or CONFIG.py=CHECKPOINT.

        Raises:
            DeployError: It is none of them, or a file of it is missing.
        """
        model, mark, checkpoint = text.partition('=')
        suffix = Path(model).suffix.lower()
        if suffix == '.py' and not mark:
            raise DeployError(
                f'{text}: a config needs its checkpoint; expected {text}=CHECKPOINT.pth'
            )
        if suffix not in ('.py', '.onnx', '.xml') or (mark and suffix != '.py'):
            raise DeployError(
                f'{text}: expected MODEL.onnx, MODEL.xml or CONFIG.py=CHECKPOINT.pth'
            )
        for path in (model, checkpoint) if mark else (model,):
            if not Path(path).is_file():
                raise DeployError(
                    f'{path or text}: no such file; expected MODEL.onnx, MODEL.xml or '
                    'CONFIG.py=CHECKPOINT.pth'
                )
        return cls(model, checkpoint or None)


class Models:
    """The models to choose from.

    Each is loaded in a precision when it is first asked for, and then kept.

    Args:
        sources (Sequence[ModelSource]): One or more.
        precision (str): What they start in. Defaults to 'auto'.
        load (callable, optional): From a source and a precision to a segmentor.
            Defaults to None, DefectSegmentor with ``options``.
        **options: ``backend``, ``device`` and ``threads`` of DefectSegmentor.

    Raises:
        DeployError: A model cannot be loaded, or was given twice.
    """

    def __init__(self, sources, precision='auto', load=None, **options):
        if not sources:
            raise DeployError('no model was given; expected one or more')
        self._load = load or (lambda *asked: _load(*asked, options))
        # one builds at a time: runtimes take all processors to compile a network
        self._building = threading.Lock()
        self._sources = {}
        self._precisions = {}
        self._built = {}
        for source in sources:
            segmentor = self._load(source, precision)
            name = self._name(segmentor.card, source)
            self._sources[name] = source
            self._precisions[name] = offered(segmentor)
            self._built[name, self._precisions[name][0]] = segmentor

    def _name(self, card, source):
        name = card.name
        if card.precision != 'fp32':
            name = f'{name}, {card.precision}'
        if name in self._sources:
            name = f'{name} ({Path(source.checkpoint or source.model).name})'
        if name in self._sources:
            raise DeployError(
                f'{source.model}: a second model {name}; give each model once'
            )
        return name

    @property
    def names(self) -> list[str]:
        """To choose from; the first is the default."""
        return list(self._sources)

    def precisions(self, name: str) -> list[str]:
        """What a model can be computed in, the one that it starts in first.

        Raises:
            DeployError: There is no such model.
        """
        if name not in self._sources:
            raise DeployError(f'there is no model {name!r}; choose one of the list')
        return self._precisions[name]

    def describe(self, name: str, precision: str) -> tuple[ModelCard, str, str]:
        """Card, runtime and precision of a model, loaded if it was not yet.

        Raises:
            DeployError: There is no such model, or it cannot be computed so.
        """
        segmentor = self._get(name, precision)
        return segmentor.card, segmentor.backend.name, segmentor.backend.precision

    def segment(self, name: str, precision: str, frame: np.ndarray) -> Segmentation:
        """Segment a frame; other frames for the same model wait.

        Raises:
            DeployError: There is no such model, or it failed. The log has the rest.
        """
        segmentor = self._get(name, precision)
        try:
            return segmentor.segment(frame)
        except DeployError:
            raise
        except Exception as error:
            # whatever a runtime raises: the page goes on
            logger.exception('%s failed on a frame of %s', name, frame.shape)
            raise DeployError(
                f'{name} failed on this one ({type(error).__name__}); the log of the '
                'server says more. Others can still be sent'
            ) from error

    def _get(self, name, precision):
        known = self.precisions(name)
        if precision not in known:
            raise DeployError(
                f'{name} cannot be computed in {precision!r}; choose one of '
                f'{", ".join(known)}'
            )
        with self._building:
            if (name, precision) not in self._built:
                self._built[name, precision] = self._load(
                    self._sources[name], precision
                )
            return self._built[name, precision]


def _load(source, precision, options):
    return DefectSegmentor(
        source.model, checkpoint=source.checkpoint, precision=precision, **options
    )


def offered(segmentor) -> list[str]:
    """The precisions that a segmentor's model and runtime have, its own first.

    An artefact in less than float32 has its own only.
    """
    backend = segmentor.backend
    others = backend.precisions() if segmentor.card.precision == 'fp32' else ()
    return [backend.precision, *(p for p in others if p != backend.precision)]
