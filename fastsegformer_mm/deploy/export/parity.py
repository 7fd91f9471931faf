"""An artefact against the network it comes from."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import METRICS
from torch import nn

from ..errors import DeployError
from ..model_card import ModelCard
from .reference import Case, Reference

# largest difference of a logit, as share of the largest logit; share of equal pixels;
# points of mIoU that may be lost
TOLERANCES = {
    'fp32': {'logits': 1e-4, 'equal': 0.9999},
    'bf16': {'equal': 0.998},
    'fp16': {'equal': 0.998},
    'int8': {'miou': 0.2, 'equal': 0.99},
}
# with frames as input, whose grey levels are rounded otherwise at some pixels
EQUAL_WITH_PRE = 0.999
# of logits at other sizes, where the precision has no tolerance: a size that was
# written into the graph is wrong by more
OTHER_SIZE = 0.25


@dataclass
class Parity:
    """What a comparison found.

    Args:
        images (int): Number of frames.
        source (str): Where they are from.
        synthetic (bool): Whether they were drawn.
        computed_in (str): Precision that this processor computed in.
        logits (float): Largest difference of a logit, of the network alone.
        largest (float): Largest absolute value of a logit.
        equal (float): Share of equal pixels of the masks.
        miou (tuple[float], optional): mIoU in percent before and after. Defaults to
            None: no labels.
        other_sizes (dict[str, float]): Largest difference of a logit as share of the
            largest, by sizes that the network was not traced at.
        tolerance (dict[str, float]): What was allowed of 'logits', 'equal', 'miou'.
    """

    images: int
    source: str
    synthetic: bool
    computed_in: str
    logits: float
    largest: float
    equal: float
    miou: tuple[float, float] | None = None
    other_sizes: dict[str, float] = field(default_factory=dict)
    tolerance: dict[str, float] = field(default_factory=dict)

    @property
    def relative(self) -> float:
        """``logits`` as share of ``largest``."""
        return self.logits / self.largest if self.largest else math.nan

    @property
    def drop(self) -> float | None:
        """Points of mIoU lost."""
        return self.miou and self.miou[0] - self.miou[1]

    def failures(self) -> list[str]:
        """What is outside its tolerance, each with the figure and what was allowed."""
        out = []
        allowed = self.tolerance
        # "not within", so that NaN fails
        if 'logits' in allowed and not self.relative <= allowed['logits']:
            out.append(
                f'logits differ by {self.relative:.1e} of the largest one, allowed are '
                f'{allowed["logits"]:.1e} (logits)'
            )
        if 'equal' in allowed and not self.equal >= allowed['equal']:
            out.append(
                f'{self.equal:.3%} of the pixels are equal, expected are '
                f'{allowed["equal"]:.3%} (equal)'
            )
        if 'miou' in allowed and self.miou and not self.drop <= allowed['miou']:
            out.append(
                f'mIoU falls from {self.miou[0]:.2f} to {self.miou[1]:.2f}, allowed '
                f'are {allowed["miou"]:g} points (miou)'
            )
        for size, found in self.other_sizes.items():
            limit = allowed.get('logits', OTHER_SIZE)
            if not found <= limit:
                out.append(
                    f'at {size} logits differ by {found:.1e} of the largest one, '
                    f'allowed are {limit:.1e} (logits): the network may compute sizes '
                    'that a graph with free ones cannot; choose --shape HEIGHT WIDTH'
                )
        return out


def tolerances(
    card: ModelCard, labelled: bool, given: dict[str, float] | None = None
) -> dict[str, float]:
    """What is allowed of an artefact.

    Args:
        card (ModelCard): Its card.
        labelled (bool): Whether there are labels: INT8 is then judged by mIoU, not
            by equal pixels.
        given (dict, optional): What to allow instead, of 'logits' (share of the
            largest logit), 'equal' (share of pixels) and 'miou' (points).

    Raises:
        DeployError: A key or value is none of those, or 'miou' is given without
            labels.
    """
    out = dict(TOLERANCES[card.precision])
    if card.with_pre:
        out['equal'] = min(out['equal'], EQUAL_WITH_PRE)
    if 'miou' in out:
        out.pop('equal' if labelled else 'miou')
    for key, value in (given or {}).items():
        if key not in ('logits', 'equal', 'miou') or not (
            isinstance(value, (int, float)) and value >= 0
        ):
            raise DeployError(
                f'--tolerance {key}={value}; expected logits, equal or miou and a '
                'number, as in equal=0.998'
            )
        if key == 'miou' and not labelled:
            raise DeployError(
                f'--tolerance miou={value}, but there are no labels; name some by '
                '--images and --labels, or --split'
            )
        out[key] = value
    return out


def logit_difference(infer: Callable, cases: Sequence[Case]) -> tuple[float, float]:
    """Largest difference of a network's logits, and the largest logit.

    Args:
        infer (Callable): From the image to the logits, as a ``Backend``.
        cases (Sequence[Case]): To compare with.
    """
    difference = largest = 0.0
    for case in cases:
        found = infer(case.image)
        # of NumPy's: Python's max would lose a NaN
        difference = np.maximum(difference, np.abs(found - case.logits).max())
        largest = np.maximum(largest, np.abs(case.logits).max())
    return float(difference), float(largest)


@torch.no_grad()
def other_sizes(
    infer: Callable, network: nn.Module, card: ModelCard, image: np.ndarray
) -> dict[str, float]:
    """Differences at sizes and batches that were left free.

    Args:
        infer (Callable): As :func:`logit_difference`.
        network (nn.Module): In PyTorch.
        card (ModelCard): Of the artefact; its ``shape`` and ``batch`` say what is free.
        image (np.ndarray): An image to resize.
    """
    height, width = image.shape[2:]
    sizes = [] if card.shape else [(height + 32, width + 96), (height, width + 32)]
    batches = [] if card.batch else [2]
    shapes = [(1, *s) for s in sizes] + [(n, height, width) for n in batches]
    out = {}
    for batch, *size in shapes:
        x = F.interpolate(torch.from_numpy(image), tuple(size), mode='bilinear')
        # images of a batch must not be one and the same
        x = torch.cat([x.roll(17 * i, 3) for i in range(batch)]).contiguous()
        try:
            found = infer(x.numpy())
        except RuntimeError as error:
            raise DeployError(
                f'the model does not run at {batch} x {size[0]} x {size[1]} '
                f'({str(error).strip().splitlines()[-1][:200]}); choose --shape '
                'HEIGHT WIDTH and --batch 1'
            ) from error
        wanted = network(x).numpy()
        name = f'{batch} x {size[0]} x {size[1]}'
        out[name] = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    return out


def masks(
    infer: Callable, card: ModelCard, cases: Sequence[Case], reference: Reference
) -> list[np.ndarray]:
    """Masks of an artefact, by MMSegmentation's steps for what it has not inside."""
    out = []
    for case in cases:
        inputs = [case.frame[None] if card.with_pre else case.image]
        if card.with_post and not card.with_pre:
            inputs.append(np.array(case.frame.shape[:2], np.int64))
        found = np.array(infer(*inputs))
        out.append(found[0] if card.with_post else reference.mask(found, case))
    return out


def equal_share(found: Sequence[np.ndarray], cases: Sequence[Case]) -> float:
    """Share of pixels with the class that MMSegmentation finds."""
    equal = sum(int((a == case.mask).sum()) for a, case in zip(found, cases))
    return equal / sum(case.mask.size for case in cases)


def mean_iou(
    cfg: Config, card: ModelCard, found: Sequence[np.ndarray], cases: Sequence[Case]
) -> float:
    """mIoU in percent, by the config's own metric."""
    settings = cfg.get('test_evaluator') or {}
    several = settings if isinstance(settings, (list, tuple)) else [settings]
    settings = next((s for s in several if 'IoU' in s.get('type', '')), None)
    logger = MMLogger.get_current_instance()
    level = logger.level
    # without the table of classes
    logger.setLevel(logging.ERROR)
    try:
        metric = METRICS.build(settings or dict(type='IoUMetric'))
        metric.dataset_meta = dict(classes=card.classes, palette=card.palette)
        for mask, case in zip(found, cases):
            sample = case.data_samples[0].to_dict()
            prediction = torch.from_numpy(mask.astype(np.int64))[None]
            metric.process({}, [dict(sample, pred_sem_seg=dict(data=prediction))])
        figures = metric.evaluate(size=len(found))
    finally:
        logger.setLevel(level)
    return float(next(v for k, v in figures.items() if k.split('/')[-1] == 'mIoU'))
