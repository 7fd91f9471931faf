"""What has to be known of a network to run it without its config."""

import json
from dataclasses import asdict, dataclass

from mmengine.config import Config
from mmseg.registry import DATASETS

from fastsegformer_mm.utils.background import AUTO, background_class
from fastsegformer_mm.version import __version__

from .errors import DeployError
from .input_settings import geometry, inference_sets, normalisation

KEY = 'fastsegformer_mm'


@dataclass(frozen=True)
class ModelCard:
    """Classes, colours and the way of a frame into the network and back.

    Every artefact carries it in its metadata, so that nothing else is needed to
    run it.

    Args:
        name (str): Stem of the config file.
        classes (tuple[str]): Class names, by index.
        palette (tuple[tuple[int]]): RGB of each class, 0 to 255.
        size (tuple[int]): Height and width of the network's input in pixels, as the
            test pipeline has it; with ``resize='none'`` those of training's crops.
        resize (str): How a frame comes to that size. 'letterbox' keeps its aspect
            and fills up with ``pad_val``; 'stretch' does not keep it; 'keep_ratio'
            keeps it without filling up, so that the input's size varies; 'none'
            leaves the frame.
        interpolation (str): Of the resizing, by MMCV's name.
        resize_backend (str): 'pillow' (widens its filter to shrink) or 'cv2'.
        pad_val (int): Grey value of the letterbox. Defaults to 128.
        mean (tuple[float]): Subtracted from each channel, in the network's order.
        std (tuple[float]): Divided by after that.
        to_rgb (bool): Whether the network wants RGB. Frames are BGR, as OpenCV's.
        size_divisor (int): The input is padded on the right and at the bottom to
            multiples of it, with 0 after normalisation. 1 for not at all.
        align_corners (bool): How logits are resized to the frame.
        threshold (float, optional): With one output channel for two classes: above
            it the sigmoid is class 1. Defaults to None: the largest logit wins.
        version (str): Of this package.
        checkpoint (str): Name of the checkpoint file, '' for random weights.
        sha256 (str): Digest of its weights
            (:func:`~fastsegformer_mm.engine.checkpoint.digest.weights_digest`).
        precision (str): What an artefact is to be computed in: 'fp32', 'bf16', 'fp16'
            or 'int8'. A runtime that chooses by itself must be told it.
        with_pre (bool): Whether an artefact takes uint8 BGR frames of (1, H, W, 3)
            and resizes and normalises them itself. Defaults to False: the normalised
            image.
        with_post (bool): Whether it gives uint8 masks of (1, H, W) at the frame's
            size. Defaults to False: logits.
        shape (tuple[int], optional): Height and width in pixels that the network of an
            artefact is fixed to. Defaults to None: any.
        batch (int, optional): Images that it takes at once. Defaults to None: any.
        channels (int): Of the network's input: 3, or 1 for grey. Frames are BGR in
            either case. Defaults to 3.
        background (str | int | None): The class that is no defect, as the data set's
            metainfo names it; None for a set without one. Defaults to 'auto': the
            one with a known name
            (:func:`~fastsegformer_mm.utils.background.background_class`).

    Example:
        >>> card = ModelCard('my', ('sound', 'ulcer'), ((0, 0, 0), (0, 128, 0)),
        ...                  (224, 224))
        >>> ModelCard.from_json(card.to_json()) == card
        True
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    size: tuple[int, int]
    resize: str = 'letterbox'
    interpolation: str = 'bicubic'
    resize_backend: str = 'pillow'
    pad_val: int = 128
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (255.0, 255.0, 255.0)
    to_rgb: bool = True
    size_divisor: int = 1
    align_corners: bool = True
    threshold: float | None = None
    version: str = __version__
    checkpoint: str = ''
    sha256: str = ''
    precision: str = 'fp32'
    with_pre: bool = False
    with_post: bool = False
    shape: tuple[int, int] | None = None
    batch: int | None = None
    channels: int = 3
    background: str | int | None = AUTO

    def __post_init__(self) -> None:
        background_class(self.classes, self.background)

    @property
    def background_index(self) -> int | None:
        """The class that is not drawn, measured or graded; None: all are."""
        return background_class(self.classes, self.background)

    @property
    def random_weights(self) -> bool:
        """Whether the network was never trained, so that its masks mean nothing."""
        return not self.checkpoint

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> 'ModelCard':
        """The card of :meth:`to_json`.

        Raises:
            DeployError: It is no card, or one of a newer version with other fields.
        """
        try:
            values = json.loads(text)
            for key in ('classes', 'size', 'mean', 'std'):
                values[key] = tuple(values[key])
            if values.get('shape'):
                values['shape'] = tuple(values['shape'])
            values['palette'] = tuple(tuple(colour) for colour in values['palette'])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise DeployError(
                f'this is not the description of a model: {text[:80]!r} ({error}); '
                'export the model again with tools/deployment/export.py of this version'
            ) from error

    @classmethod
    def from_config(
        cls,
        cfg: Config,
        model,
        checkpoint: str = '',
        sha256: str = '',
        classes=None,
        background: str | int | None = AUTO,
    ) -> 'ModelCard':
        """The card of a config's test pipeline, data preprocessor and data set.

        Args:
            cfg (Config): A whole config, with the scope of its registries set.
            model (EncoderDecoder): The network built from it.
            checkpoint (str): Name of its checkpoint file.
            sha256 (str): Digest of its weights.
            classes (tuple, optional): Names and colours, (classes, palette), as the
                checkpoint has them. Defaults to None: those of the test set's class.
            background (str | int | None): The class that is no defect, as the
                checkpoint has it; what the test set's metainfo says comes first.

        Raises:
            DeployError: The test pipeline, the loading of images or the data
                preprocessor has something that is not known here.
        """
        names, palette = classes or dataset_classes(cfg)
        frames = geometry(cfg)
        head = model.decode_head
        head = head[-1] if isinstance(head, (list, tuple)) else head
        background = dataset_meta(cfg).get('background', background)
        try:
            background_class(names, background)
        except ValueError as error:
            raise DeployError(f'{cfg.filename}: metainfo of a set: {error}') from error
        return cls(
            name=_stem(cfg),
            classes=tuple(names),
            palette=tuple(tuple(int(c) for c in colour) for colour in palette),
            **frames,
            **normalisation(cfg, frames['channels']),
            align_corners=bool(model.align_corners),
            threshold=head.threshold if model.out_channels == 1 else None,
            checkpoint=checkpoint,
            sha256=sha256,
            background=background,
        )


def dataset_classes(cfg: Config):
    """(class names, palette) of a config's test set, without touching its files."""
    meta = dataset_meta(cfg)
    return meta['classes'], meta['palette']


def dataset_meta(cfg: Config) -> dict:
    """Metainfo of a config's test set, without touching its files."""
    dataset = inference_sets(cfg)[0]
    meta = dict(DATASETS.get(dataset['type']).METAINFO)
    return {**meta, **(dataset.get('metainfo') or {})}


def _stem(cfg):
    name = cfg.filename or 'model.py'
    return name.replace('\\', '/').rsplit('/', 1)[-1].removesuffix('.py')
