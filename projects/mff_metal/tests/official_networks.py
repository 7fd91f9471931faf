"""Both networks of the project, and official weights for them."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import torch
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

from fastsegformer_mm.models.conversion import convert_state_dict
from mff_metal.conversion import recognise

import_modules_from_strings(['fastsegformer_mm', 'mff_metal'])

HERE = Path(__file__).parent
FOLDER = HERE / 'golden'
GOLDEN = HERE.parents[2] / 'tests/golden/golden.py'
golden = SimpleNamespace(**runpy.run_path(str(GOLDEN)))

STUDENT = (30, 60, 90, 120)
TEACHER = (180, 360, 540, 720)


def build(name, num_classes=4, channels=None, image=3, head=None, **backbone):
    """A segmentor in eval mode, its start drawn from seed 0.

    Args:
        name (str): 'mff_metal' or 'lmffnet'.
        num_classes (int): Classes. Defaults to 4.
        channels (tuple[int], optional): Widths. Defaults to None, the backbone's
            default.
        image (int): Channels of the image. Defaults to 3.
        head (dict, optional): More options of the head.
        **backbone: More options of the backbone.
    """
    torch.manual_seed(0)
    if name == 'mff_metal':
        kind, parts = 'EncoderDecoder', ('MFFMetalEncoder', 'MFFMetalHead')
        channels = channels or STUDENT
        maps = channels
    else:
        kind, parts = 'EncoderDecoderWithImage', ('LMFFNet', 'LMFFNetHead')
        channels = channels or (32, 64, 128)
        maps = [channels[0] + image, *(2 * c + image for c in channels[1:]), image]
    backbone = dict(type=parts[0], channels=channels, in_channels=image, **backbone)
    head = dict(
        type=parts[1], in_channels=list(maps), num_classes=num_classes,
        out_channels=num_classes, **(head or {}),
    )  # fmt: skip
    cfg = dict(type=kind, backbone=backbone, decode_head=head)
    return MODELS.build(dict(cfg, test_cfg=dict(mode='whole'))).eval()


def official(name, **options):
    """Official weights; with ``options`` of :func:`build`, zeros of those shapes."""
    weights = golden.official_state_dict(name, FOLDER)
    if not options:
        return weights
    ours = build(name, **options).state_dict()
    rename = recognise(weights).rename
    return {k: torch.zeros_like(ours[rename(k, v)[0]]) for k, v in weights.items()}


def convert(weights):
    """Convert official weights by the project's converter."""
    return convert_state_dict(weights, recognise)
