"""The card that an exported file carries."""

from pathlib import Path

from ..errors import DeployError
from ..model_card import KEY, ModelCard
from .openvino_core import import_openvino, openvino_core

SUFFIXES = ('.onnx', '.xml')


def read_card(path: str | Path) -> ModelCard:
    """The card in an artefact's metadata.

    Args:
        path (str | Path): An .onnx file, or an .xml with its .bin beside it.

    Raises:
        DeployError: There is no such file, it is no model, or a model without a card.

    Example:
        >>> read_card('work_dirs/deploy/orange.onnx').classes
        ('background', 'sunburn', 'ulcer', 'wind scarring')
    """
    path = Path(path)
    if not path.is_file():
        raise DeployError(
            f'{path}: there is no such file; expected an .onnx or .xml that '
            'tools/deployment/export.py wrote, or a config with its checkpoint'
        )
    weights = path.with_suffix('.bin')
    if path.suffix == '.xml' and not weights.is_file():
        raise DeployError(
            f'{path}: its weights are missing; expected {weights.name} beside it. Copy '
            'both files'
        )
    text = _from_onnx(path) if path.suffix == '.onnx' else _from_openvino(path)
    if text is None:
        raise DeployError(
            f'{path} does not say what its classes are and how its images are '
            'prepared: it was not written by tools/deployment/export.py. Export the '
            'model by that, from its config and checkpoint'
        )
    return ModelCard.from_json(text)


def _from_onnx(path):
    try:
        import onnx
    except ImportError as error:
        raise DeployError(
            f'{path} needs the package onnx ({error}); install it by '
            'pip install "fastsegformer-mm[deploy]"'
        ) from error
    try:
        model = onnx.load(str(path), load_external_data=False)
        if not model.graph.node:
            raise ValueError('it has no operations')
    except Exception as error:
        raise _no_model(path, error) from error
    return next((p.value for p in model.metadata_props if p.key == KEY), None)


def _from_openvino(path):
    import_openvino()
    core = openvino_core()
    try:
        model = core.read_model(str(path))
    except Exception as error:
        raise _no_model(path, error) from error
    if not model.has_rt_info(KEY):
        return None
    return model.get_rt_info(KEY).astype(str)


def _no_model(path, error):
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DeployError(
        f'{path} is no model ({lines[-1].strip()[:200]}): it is broken, or not what '
        'its name says; export it again with tools/deployment/export.py'
    )
