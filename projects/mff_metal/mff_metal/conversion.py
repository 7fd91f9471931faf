"""Official checkpoints of MFF-Metal and LMFFNet to MMEngine's.

``python -m mff_metal.conversion SRC DST [--force] [--dataset NEUSegDataset]``
"""

import sys

from fastsegformer_cli.options import conversion_parser
from fastsegformer_cli.signals import run_tool
from fastsegformer_mm.models.conversion import Network, run_command
from fastsegformer_mm.models.conversion.network import (
    count,
    rename_modules,
    size,
    tops,
)

from .backbones import LMFFNet, MFFMetalEncoder
from .decode_heads import LMFFNetHead, MFFMetalHead

NAMES = {
    (30, 60, 90, 120): 'MFF-Metal (student)',
    (180, 360, 540, 720): 'MFF-Metal (teacher)',
}


def recognise(weights):
    """Tell an official network by the names and shapes of its weights.

    Args:
        weights (dict[str, Tensor]): Official weights of MFF-Metal or LMFFNet, of any
            widths and any number of classes.

    Returns:
        Network: The network, with random weights.

    Raises:
        ValueError: It is neither of the two, or one with other numbers of
            bottlenecks than the published ones, whose dilations the weights do not
            tell.

    Example:
        >>> import torch
        >>> recognise({'backbone.conv1.weight': torch.zeros(1)})
        Traceback (most recent call last):
        ValueError: it holds no network known here: its keys begin with backbone. \
Known are MFF-Metal (keys downsample_0.*) and LMFFNet (FFM_A.*)
    """
    if any(key.startswith('downsample_0.') for key in weights):
        return _mff_metal(weights)
    if any(key.startswith('FFM_A.') for key in weights):
        return _lmffnet(weights)
    raise ValueError(
        f'it holds no network known here: its keys begin with {tops(weights)}. '
        'Known are MFF-Metal (keys downsample_0.*) and LMFFNet (FFM_A.*)'
    )


def _mff_metal(weights):
    _check_depths(weights, 'MFF-Metal', MFFMetalEncoder, first=0)
    stem, image = _stem(weights)
    channels = (stem, *_widths(weights, range(3)))
    encoder = MFFMetalEncoder(image, channels)
    deep = 'MAD.max_re48'
    head = _head(MFFMetalHead, weights, deep, channels)
    names = _backbone_modules(encoder, first=0)
    for official, ours in (
        (deep, 'decode_head.deep_decoder'),
        ('MAD.max_re24', 'decode_head.shallow_decoder'),
    ):
        names |= _decoder_modules(official, ours)
        names[f'{official}.scale_atten.conv'] = f'{ours}.weigh.conv'
    name = NAMES.get(channels, f'MFF-Metal ({"/".join(map(str, channels))})')
    return Network(name, 'MFFMetalEncoder', encoder, head, rename=rename_modules(names))


def _lmffnet(weights):
    _check_depths(weights, 'LMFFNet', LMFFNet, first=1)
    stem, image = _stem(weights)
    widths = _widths(weights, (1, 2))
    backbone = LMFFNet(image, (stem, *widths))
    maps = [stem + image, *(2 * width + image for width in widths), image]
    head = _head(LMFFNetHead, weights, 'MAD', maps)
    names = (
        _backbone_modules(backbone, first=1)
        | _norm_act('FFM_A.bn_prelu', 'backbone.stem_fusion.bn', 'backbone.stem_fusion')
        | {'FFM_A.conv1x1.conv': 'backbone.stem_fusion.conv'}
        | _decoder_modules('MAD', 'decode_head.decoder')
    )
    return Network('LMFFNet', 'LMFFNet', backbone, head, rename=rename_modules(names))


def _check_depths(weights, name, backbone, first):
    known = [len(dilations) for dilations in backbone.dilations]
    found = [
        count(weights, f'SEM_B_Block{i}.SEM_B_Block.SEM_Block_{i}')
        for i in range(first, first + len(known))
    ]
    if found != known:
        raise ValueError(
            f'it looks like {name}, but its stages have {found} bottlenecks, not '
            f'{known}, and the weights do not tell the dilations; is the file complete?'
        )


def _stem(weights):
    """Widths of the stem and of the image."""
    key = 'Init_Block.init_conv.0.conv.weight'
    return size(weights, key), size(weights, key, 1)


def _widths(weights, stages):
    return [size(weights, f'downsample_{i}.bn_prelu.bn.weight') for i in stages]


def _head(head, weights, decoder, in_channels):
    layers = ('mid_layer_1x1', 'deep_layer_1x1')
    classes = size(weights, f'{decoder}.PwConv1.conv.weight')
    return head(
        in_channels,
        [size(weights, f'{decoder}.{layer}.conv.weight') for layer in layers],
        num_classes=classes,
        # said, so that two classes bring no advice to make them one
        out_channels=classes,
    )


def _norm_act(official, norm, ours):
    """Names of a normalisation and of the activation after it."""
    return {f'{official}.bn': norm, f'{official}.acti': f'{ours}.activate'}


def _conv(official, ours):
    """Names of a convolution, its normalisation and its activation."""
    return {
        f'{official}.conv': f'{ours}.conv',
        **_norm_act(f'{official}.bn_prelu', f'{ours}.bn', ours),
    }


def _backbone_modules(backbone, first):
    """{official module: our module} of the backbone, less LMFFNet's first fusion."""
    names = {}
    for i in range(3):
        names |= _conv(f'Init_Block.init_conv.{i}', f'backbone.stem.{i}')
    for i, stage in enumerate(backbone.stages):
        number = i + first
        official, ours = f'downsample_{number}', f'backbone.stages.{i}.downsample'
        names[f'{official}.conv3x3.conv'] = f'{ours}.conv.conv'
        ours = f'{ours}.norm_act'
        names |= _norm_act(f'{official}.bn_prelu', f'{ours}.norm', ours)
        for j, block in enumerate(stage.blocks):
            names |= _bottleneck_modules(
                f'SEM_B_Block{number}.SEM_B_Block.SEM_Block_{number}{j}',
                f'backbone.stages.{i}.blocks.{j}',
                len(block.branches),
            )
        official, ours = f'FFM_B{number}', f'backbone.fusions.{i}'
        names |= _norm_act(f'{official}.bn_prelu', f'{ours}.mix.bn', f'{ours}.mix')
        names[f'{official}.conv1x1.conv'] = f'{ours}.mix.conv'
        ours = f'{ours}.attention'
        names[f'{official}.PMCA.conv2x2.conv'] = f'{ours}.quarters.conv'
        for j in range(3):
            names[f'{official}.PMCA.SE_Block.fc.{j}'] = f'{ours}.fc.{j}'
    return names


def _bottleneck_modules(official, ours, num_branches):
    names = _conv(f'{official}.conv3x3', f'{ours}.conv')
    sides = ('left', 'right') if num_branches == 2 else ('left', 'middle', 'right')
    for i, side in enumerate(sides):
        names |= _conv(f'{official}.dconv_{side}', f'{ours}.branches.{i}')
    names |= _conv(f'{official}.conv3x3_resume.conv3x3', f'{ours}.merge')
    names[f'{official}.conv3x3_resume.conv1x1_resume.conv'] = f'{ours}.expand.conv'
    ours = f'{ours}.norm_act'
    return names | _norm_act(f'{official}.bn_relu_1', f'{ours}.norm', ours)


def _decoder_modules(official, ours):
    names = {}
    for part, layer in (('mid', 'reduce_shallow'), ('deep', 'reduce_deep')):
        names[f'{official}.{part}_layer_1x1.conv'] = f'{ours}.{layer}.conv'
    for number, part in ((1, 'attention'), (2, 'classify')):
        names |= _conv(f'{official}.DwConv{number}', f'{ours}.{part}.depthwise_conv')
        name = f'{ours}.{part}.pointwise_conv.conv'
        names[f'{official}.PwConv{number}.conv'] = name
    return names


def main():
    """The command line."""
    parser = conversion_parser(
        'Convert an official checkpoint of MFF-Metal, student or teacher, or of '
        "LMFFNet to MMEngine's layout, {'state_dict': ..., 'meta': ...}: for load_from "
        'and for the test tools.'
    )
    run_command(parser.parse_args(), recognise)


if __name__ == '__main__':
    sys.exit(run_tool(main))
