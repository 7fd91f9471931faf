"""Which network a file of official weights holds."""

import re

from ..backbones import EfficientFormerV2, SwinLastNorm
from ..backbones.swin_last_norm import convert_official_swin
from ..decode_heads import AttUNetHead, FastSegFormerHead
from .network import Network, count, keep_name, rename_modules, size, tops
from .official_heads import (
    student_modules,
    student_options,
    teacher_modules,
    teacher_options,
)

KNOWN = (
    'FastSegFormer students and Swin-Att-UNet teachers (keys common_backbone.*), '
    'and ImageNet backbones: EfficientFormerV2 (patch_embed.0.*, network.*), '
    'PoolFormer (patch_embed.proj.*, network.*), Swin (patch_embed.proj.*, layers.*)'
)
# where the official code keeps the backbone
PREFIX = 'common_backbone.'
# Constants of the official attentions. Our constructors make their own.
CONSTANT = re.compile(r'\.(attention_bias_idxs|relative_position_index|attn_mask)$')
# Swin's last norm belongs to its last stage; the others' norm the output that
# only the classifier sees.
CLASSIFIER = re.compile(r'^(norm|head|dist_head)\.')
SWIN_CLASSIFIER = re.compile(r'^head\.')
# Norms of the maps that a decoder reads: an ImageNet file has none.
OUTPUT_NORM = re.compile(r'^norm\d\.')
SWIN = {
    (96, (2, 2, 6, 2)): 'Swin-T',
    (96, (2, 2, 18, 2)): 'Swin-S',
    (128, (2, 2, 18, 2)): 'Swin-B',
    (192, (2, 2, 18, 2)): 'Swin-L',
}
LETTERS = {'EfficientFormerV2-S0': 'E', 'PoolFormer-S12': 'P'}


def recognise(weights):
    """Tell the network by the names and shapes of its weights.

    Args:
        weights (dict[str, Tensor]): Official weights, without a ``module.``
            prefix.

    Returns:
        Network: The network, with random weights.

    Raises:
        ValueError: It is none of the known ones, or one of them in a size that
            does not exist.

    Example:
        >>> import torch
        >>> from fastsegformer_mm.models.backbones import EfficientFormerV2
        >>> recognise(EfficientFormerV2('s1').state_dict()).name
        'EfficientFormerV2-S1'
    """
    inner = {k[len(PREFIX) :]: v for k, v in weights.items() if k.startswith(PREFIX)}
    name, backbone, widths = _backbone(inner or weights)
    is_swin = isinstance(backbone, SwinLastNorm)
    if not inner:
        return Network(
            name,
            name,
            backbone,
            rename=_rename_swin if is_swin else keep_name,
            constant=CONSTANT,
            classifier=SWIN_CLASSIFIER if is_swin else CLASSIFIER,
            untrained=None if is_swin else OUTPUT_NORM,
        )
    if count(weights, 'convert_channel.conv.'):
        options = student_options(weights)
        image = [3] if options['branch_channels'] else []
        letter = LETTERS.get(name)
        return Network(
            f'FastSegFormer-{letter}' if letter else f'FastSegFormer ({name})',
            name,
            backbone,
            FastSegFormerHead(
                widths + image, out_channels=options['num_classes'], **options
            ),
            [
                options['pyramid'].upper(),
                'image branch' if image else 'no image branch',
            ],
            _rename_segmentor(student_modules(options), is_swin),
            CONSTANT,
        )
    if count(weights, 'bottle.'):
        options = teacher_options(weights)
        return Network(
            f'{name}-Att-UNet',
            name,
            backbone,
            AttUNetHead([*widths, 3], out_channels=options['num_classes'], **options),
            [],
            _rename_segmentor(teacher_modules(options), is_swin),
            CONSTANT,
        )
    raise ValueError(
        f'it has a {name} backbone under {PREFIX}*, but neither the decoder of a '
        "FastSegFormer (convert_channel.*) nor a teacher's (bottle.*). Known are "
        f'{KNOWN}'
    )


def _rename_swin(key, value):
    """An official key of Swin, and its value, of which some are in another order."""
    # nothing comes back for a classifier's key, which has no place here
    renamed = convert_official_swin({key: value}) or {None: value}
    return next(iter(renamed.items()))


def _rename_segmentor(head_modules, is_swin):
    """The renaming of a segmentor of these modules of the head."""
    rename_head = rename_modules(
        {theirs: f'decode_head.{ours}' for theirs, ours in head_modules.items()}
    )

    def rename(key, value):
        if not key.startswith(PREFIX):
            return rename_head(key, value)
        key = key.removeprefix(PREFIX)
        if is_swin:
            key, value = _rename_swin(key, value)
        return key and f'backbone.{key}', value

    return rename


def _backbone(weights):
    """Name, module and the four widths of a backbone."""
    if 'patch_embed.0.weight' in weights and count(weights, 'network.'):
        return _efficientformer_v2(weights)
    if 'patch_embed.proj.weight' in weights and count(weights, 'network.'):
        return _poolformer(weights)
    if 'patch_embed.proj.weight' in weights and count(weights, 'layers.'):
        return _swin(weights)
    raise ValueError(
        f'it holds no network known here: its keys begin with {tops(weights)}. '
        f'Known are {KNOWN}'
    )


def _match(name, widths, depths, archs):
    """The key in ``archs``, {arch: (widths, depths)}, of these widths and depths."""
    for arch, known in archs.items():
        if known == (widths, depths):
            return arch
    known = '; '.join(f'{arch}: {w}, {d}' for arch, (w, d) in archs.items())
    raise ValueError(
        f'it looks like {name}, but with widths {widths} and depths {depths} it is '
        f'none of the known ones ({known}); is the file complete?'
    )


def _stages(weights, width_key):
    depths = [count(weights, f'network.{i}.') for i in (0, 2, 4, 6)]
    keys = [f'network.{i}.0.{width_key}' for i in (0, 2, 4, 6)]
    return [size(weights, key) for key in keys], depths


def _efficientformer_v2(weights):
    widths, depths = _stages(weights, 'mlp.fc2.weight')
    archs = {
        arch: (s['embed_dims'], [len(ratios) for ratios in s['mlp_ratios']])
        for arch, s in EfficientFormerV2.arch_settings.items()
    }
    arch = _match('EfficientFormerV2', widths, depths, archs)
    return f'EfficientFormerV2-{arch.upper()}', EfficientFormerV2(arch), widths


def _poolformer(weights):
    # MMPretrain takes seconds to import and only PoolFormer needs it
    from mmpretrain.models.backbones import PoolFormer

    widths, depths = _stages(weights, 'mlp.fc2.weight')
    archs = {
        arch: (s['embed_dims'], s['layers'])
        for arch, s in PoolFormer.arch_settings.items()
    }
    arch = _match('PoolFormer', widths, depths, archs)
    backbone = PoolFormer(arch, out_indices=(0, 2, 4, 6), frozen_stages=-1)
    return f'PoolFormer-{arch.upper()}', backbone, widths


def _swin(weights):
    width = size(weights, 'patch_embed.proj.weight')
    depths = tuple(count(weights, f'layers.{i}.blocks.') for i in range(4))
    if (width, depths) not in SWIN:
        known = '; '.join(f'{name}: {w}, {d}' for (w, d), name in SWIN.items())
        raise ValueError(
            f'it looks like Swin, but with width {width} and depths {depths} it is '
            f'none of the known ones ({known}); is the file complete?'
        )
    table = 'layers.{}.blocks.0.attn.relative_position_bias_table'
    side = size(weights, table.format(0)) ** 0.5
    backbone = SwinLastNorm(
        embed_dims=width,
        depths=depths,
        num_heads=[size(weights, table.format(i), 1) for i in range(4)],
        window_size=int(side + 1) // 2,
    )
    return SWIN[width, depths], backbone, [width * 2**i for i in range(4)]
