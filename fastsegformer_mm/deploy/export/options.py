"""What an artefact is to be."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.config import Config

from ..errors import DeployError
from ..input_settings import inference_sets, pair, step_name
from ..model_card import ModelCard

SUFFIX = {'onnx': '.onnx', 'openvino': '.xml'}
PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8')


@dataclass
class ExportOptions:
    """What an artefact is to be, and how it is checked.

    Args:
        format (str): 'onnx' or 'openvino'.
        shape (tuple[int] | str, optional): Height and width of the network's input in
            pixels, or 'dynamic' for any. Defaults to None: that of the test pipeline
            if it has one, else 'dynamic'.
        batch (int | str): 1, or 'dynamic' for any number.
        precision (str): 'fp32', 'bf16', 'fp16' or 'int8'.
        with_pre (bool): Take uint8 BGR frames of any size, (1, H, W, 3).
        with_post (bool): Give uint8 masks of the frames' size, (1, H, W). Without
            ``with_pre`` the graph is given that as a second input, 'frame_size', int64
            of (2,): height and width.
        reparameterize (bool): Export the deploy form
            (:func:`~fastsegformer_mm.deploy.reparameterize.reparameterize`).
        calibration (int): Images of the training set that calibrate INT8.
        max_drop (float, optional): Points of mIoU that INT8 may lose: where it would
            lose more, layers go back to float. Defaults to None: none do.
        tolerance (dict[str, float]): See :func:`~.parity.tolerances`.
        split (str, optional): See :func:`~.samples.find_samples`, as the next three.
        images (Sequence): Files or folders.
        labels (str | Path, optional): Folder.
        num (int): At most so many images for the comparison; all are held in memory.
        threads (int, optional): CPU threads of the runtime. Defaults to None, all.
    """

    format: str = 'onnx'
    shape: tuple[int, int] | str | None = None
    batch: int | str = 1
    precision: str = 'fp32'
    with_pre: bool = False
    with_post: bool = False
    reparameterize: bool = True
    calibration: int = 300
    max_drop: float | None = None
    tolerance: dict[str, float] = field(default_factory=dict)
    split: str | None = None
    images: Sequence[str | Path] = ()
    labels: str | Path | None = None
    num: int = 100
    threads: int | None = None

    def check(self, out: Path) -> None:
        """Raise a DeployError for what no artefact can be."""
        known = {'format': tuple(SUFFIX), 'precision': PRECISIONS}
        known['batch'] = (1, 'dynamic')
        for name, values in known.items():
            if getattr(self, name) not in values:
                raise DeployError(
                    f'--{name} {getattr(self, name)}; expected one of '
                    f'{", ".join(map(str, values))}'
                )
        if out.suffix != SUFFIX[self.format]:
            raise DeployError(
                f'--out {out}: expected a name that ends in {SUFFIX[self.format]} for '
                f'--format {self.format}'
            )
        if out.is_dir():
            raise DeployError(f'--out {out} is a folder; expected the name of a file')
        shape = self.shape
        if shape not in (None, 'dynamic') and not (
            isinstance(shape, (tuple, list))
            and len(shape) == 2
            and all(isinstance(side, int) and side > 0 for side in shape)
        ):
            raise DeployError(
                f"--shape {shape}; expected height and width in pixels, or 'dynamic'"
            )
        if self.format == 'onnx' and self.precision == 'bf16':
            raise DeployError(
                '--precision bf16 with --format onnx: ONNX Runtime has no bfloat16 '
                'convolution for processors. Take --format openvino; for TensorRT '
                'export in fp32 and build with trtexec --bf16'
            )
        if self.max_drop is not None and (
            self.precision != 'int8' or self.format != 'openvino' or self.max_drop < 0
        ):
            raise DeployError(
                f'--max-drop {self.max_drop} with --format {self.format} --precision '
                f'{self.precision}; expected points of mIoU, 0 or more, with --format '
                'openvino --precision int8'
            )

    def card(self, card: ModelCard) -> ModelCard:
        """The card of the artefact.

        Args:
            card (ModelCard): Of the network, with the size that ``shape`` gave it.

        Raises:
            DeployError: ``shape`` does not go with the test pipeline.
        """
        fixed = card.resize in ('letterbox', 'stretch')
        free = self.shape == 'dynamic' or (self.shape is None and not fixed)
        if free and fixed and self.with_pre:
            raise DeployError(
                '--shape dynamic with --with-pre: frames may be of any size already, '
                f'and the {card.resize} brings them all to {card.size[0]} x '
                f'{card.size[1]} for the network. Leave --shape out'
            )
        shape = None
        if not free:
            # padding on the right and at the bottom belongs to the input
            step = card.size_divisor if card.resize == 'stretch' else 1
            shape = tuple(-(-side // step) * step for side in card.size)
        return replace(
            card,
            precision=self.precision,
            with_pre=self.with_pre,
            with_post=self.with_post,
            shape=shape,
            batch=1 if self.batch == 1 else None,
        )


def set_size(cfg: Config, size: tuple[int, int]) -> bool:
    """Let a config's test pipeline bring frames to another size.

    Args:
        cfg (Config): A whole config, changed in place.
        size (tuple[int]): Height and width in pixels.

    Returns:
        bool: Whether it is another.

    Raises:
        DeployError: The pipeline lets the frames' sizes decide.
    """
    changed = None
    for step in (s for dataset in inference_sets(cfg) for s in dataset['pipeline']):
        key = {'LetterBox': 'size', 'Resize': 'scale'}.get(step_name(step))
        if key is not None and not step.get('keep_ratio'):
            wanted = size if key == 'size' else size[::-1]
            changed = changed or pair(step[key]) != wanted
            step[key] = wanted
    if changed is not None:
        return changed
    raise DeployError(
        f'--shape {size[0]} {size[1]}: in the test pipeline of {cfg.filename} the '
        "frame's size decides on that of the input; expected LetterBox, or Resize "
        'without keep_ratio. Take --shape dynamic'
    )
