"""What is measured: a network, on a runtime, at a precision."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..backends.choice import WITH_STREAMS
from ..errors import DeployError

EAGER = 'torch'
REFERENCE = 'reference'
REPARAM = 'torch+reparam'
BACKENDS = (REFERENCE, EAGER, REPARAM, 'compile', 'onnxruntime', 'openvino')
PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8')
DEFAULT_BACKENDS = (
    REFERENCE, EAGER, REPARAM, 'onnxruntime', 'openvino', 'openvino:bf16',
)  # fmt: skip
# an artefact tells by its suffix what runs it
ARTEFACTS = {'.onnx': 'onnxruntime', '.xml': 'openvino'}
OURS = 'fastsegformer'


@dataclass(frozen=True)
class Model:
    """A network to measure.

    Args:
        name (str): How it is called in tables and plots.
        source (str): Its config, or an artefact.
        checkpoint (str, optional): Weights of a config. Defaults to None: random.
    """

    name: str
    source: str
    checkpoint: str | None = None

    @property
    def artefact(self) -> bool:
        """Whether it is an exported file."""
        return Path(self.source).suffix in ARTEFACTS


@dataclass(frozen=True)
class Combination:
    """What one process measures.

    Args:
        model (Model): The network.
        backend (str): One of :data:`BACKENDS`.
        precision (str): One of :data:`PRECISIONS`, or 'auto' for an artefact: what it
            was exported in.
        passes (tuple[str], optional): Those of the reparameterization that the
            network goes through first, and no other. Defaults to None: all where the
            backend is not eager.
        streams (int): Of many frames, as ``predict.py`` runs them: so many side by side
            in the network, others prepared meanwhile. Defaults to 0: one frame after
            the other.

    Example:
        >>> Combination(Model('e', 'e.py'), 'openvino', 'bf16').label
        'e / openvino:bf16'
    """

    model: Model
    backend: str
    precision: str = 'fp32'
    passes: tuple[str, ...] | None = None
    streams: int = 0

    @property
    def label(self) -> str:
        """Unique in a run."""
        name = self.model.name
        if self.model.artefact:
            name += f' ({Path(self.model.source).name})'
        label = f'{name} / {self.backend}:{self.precision}'
        if self.passes is not None:
            label += f' / {len(self.passes)} passes'
        if self.streams:
            label += f' / {streams_words(self.streams)}'
        return label

    @property
    def baseline(self) -> bool:
        """Whether the others of its network are compared with it."""
        return (self.backend, self.precision) == (EAGER, 'fp32') and not self.passes


def streams_words(streams: int) -> str:
    """As tables call it.

    Example:
        >>> streams_words(1), streams_words(2)
        ('1 stream', '2 streams')
    """
    return f'{streams} stream' + ('s' if streams > 1 else '')


def read_models(specs: Iterable[str]) -> list[Model]:
    """CONFIG, CONFIG=CHECKPOINT or an artefact, each with a short name of its own.

    Raises:
        DeployError: A file is missing, or of no kind that can be measured.

    Example:
        >>> read_models(['configs/comparison/bisenetv2_1xb32-100e_neu-seg-224x224.py'])
        ... # doctest: +NORMALIZE_WHITESPACE
        [Model(name='bisenetv2',
               source='configs/comparison/bisenetv2_1xb32-100e_neu-seg-224x224.py',
               checkpoint=None)]
    """
    models = []
    for spec in dict.fromkeys(specs):
        source, _, checkpoint = spec.partition('=')
        suffix = Path(source).suffix
        if suffix != '.py' and suffix not in ARTEFACTS:
            raise DeployError(
                f'{spec}: expected CONFIG.py, CONFIG.py=CHECKPOINT.pth, or an artefact '
                'MODEL.onnx or MODEL.xml'
            )
        if checkpoint and suffix != '.py':
            raise DeployError(
                f'{spec}: an artefact has its weights in it; leave out ={checkpoint}'
            )
        for path in filter(None, (source, checkpoint)):
            if not Path(path).is_file():
                raise DeployError(f'{path}: there is no such file')
        models.append(Model(short_name(Path(source).stem), source, checkpoint or None))
    return _apart(models)


def short_name(stem: str) -> str:
    """A config's name without its schedule, and ours without the backbone.

    Example:
        >>> short_name('fastsegformer-e_efficientformerv2-s0_1xb32-100e_neu-seg')
        'fastsegformer-e'
        >>> short_name('bisenetv1_r18_1xb32-100e_neu-seg-224x224')
        'bisenetv1_r18'
    """
    name = re.split(r'_\d+xb\d+', stem)[0]
    return name.split('_')[0] if name.startswith(OURS) else name


def _apart(models):
    """Names of configs that are the same get the whole stem, then the checkpoint's."""

    def weights(model):
        return Path(model.source).suffix[1:] if model.artefact else 'random'

    ways = (
        lambda m: m.name,
        lambda m: Path(m.source).stem,
        lambda m: f'{Path(m.source).stem}={Path(m.checkpoint or weights(m)).stem}',
        lambda m: f'{m.source}={m.checkpoint or weights(m)}',
    )
    out = []
    for model in models:
        others = [m for m in models if m is not model and not m.artefact]
        name = next(
            (way(model) for way in ways if way(model) not in map(way, others)),
            model.source,
        )
        out.append(Model(name, model.source, model.checkpoint))
    return out


def read_backends(specs: Sequence[str], precisions: Sequence[str]):
    """[(backend, precision)] of 'openvino:bf16' or, at each precision, 'openvino'.

    The reference loop and eager PyTorch are in float32 unless told otherwise.

    Raises:
        DeployError: One is unknown, or the reference loop is asked for in another
            precision than float32.

    Example:
        >>> read_backends(['torch', 'openvino', 'onnxruntime:int8'], ['fp32', 'bf16'])
        ... # doctest: +NORMALIZE_WHITESPACE
        [('torch', 'fp32'), ('openvino', 'fp32'), ('openvino', 'bf16'),
         ('onnxruntime', 'int8')]
    """
    out = []
    for spec in specs:
        backend, _, precision = spec.partition(':')
        if backend not in BACKENDS:
            raise DeployError(
                f'--backends {spec}: expected one of {", ".join(BACKENDS)}, each with '
                ':PRECISION if one is meant, such as openvino:bf16'
            )
        eager = backend in (REFERENCE, EAGER, REPARAM)
        chosen = [precision] if precision else ['fp32'] if eager else precisions
        for one in chosen:
            if one not in PRECISIONS:
                raise DeployError(
                    f'precision {one!r}: expected one of {", ".join(PRECISIONS)}'
                )
            if backend == REFERENCE and one != 'fp32':
                raise DeployError(
                    f'--backends {spec}: the reference loop is in fp32; leave out '
                    f':{precision}'
                )
            out.append((backend, one))
    return list(dict.fromkeys(out))


def combinations_of(
    models: Sequence[Model],
    backends: Sequence[tuple[str, str]],
    streams: Sequence[int] = (),
) -> list[Combination]:
    """Each config on each runtime, eager float32 first, then the artefacts.

    Eager PyTorch in float32 is always there, as what the others are compared with.
    Runtimes that can follow with each number of ``streams`` as well.
    """
    out = []
    for model in sorted(models, key=lambda model: model.artefact):
        if model.artefact:
            out.append(Combination(model, ARTEFACTS[Path(model.source).suffix], 'auto'))
            continue
        wanted = dict.fromkeys([(EAGER, 'fp32'), *backends])
        out += [Combination(model, *pair) for pair in wanted]
    return [
        replace(one, streams=number)
        for one in out
        for number in (0, *(streams if one.backend in WITH_STREAMS else ()))
    ]


def pass_combinations(
    models: Sequence[Model],
    backends: Sequence[tuple[str, str]],
    passes: Sequence[str],
) -> list[Combination]:
    """Each config on each runtime with none, the first, the first two ... passes.

    Raises:
        DeployError: A model is an artefact, or a backend has no passes.
    """
    for model in models:
        if model.artefact:
            raise DeployError(
                f'{model.source}: the passes of an artefact are done; --passes takes '
                'configs'
            )
    for backend, _ in backends:
        if backend in (REFERENCE, REPARAM):
            raise DeployError(
                f'--passes --backends {backend}: expected a runtime that runs the '
                'network with some of the passes: torch, compile, onnxruntime, openvino'
            )
    return [
        Combination(model, backend, precision, tuple(passes[:count]))
        for model in models
        for backend, precision in dict.fromkeys([(EAGER, 'fp32'), *backends])
        for count in range(len(passes) + 1)
    ]
