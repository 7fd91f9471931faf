"""The official decoders: their options by their shapes, and their modules' names.

Names are given by module: a layer's weight, bias and statistics move together.
"""

from itertools import accumulate, pairwise

from .network import count, size


def conv_norm(official, ours, first=0):
    """Names of a convolution and the norm after it, positions in a Sequential."""
    return {
        f'{official}.{first}': f'{ours}.conv',
        f'{official}.{first + 1}': f'{ours}.bn',
    }


def separable(official, ours):
    """Names of a depthwise-separable convolution."""
    return {
        **conv_norm(official, f'{ours}.depthwise_conv'),
        **conv_norm(official, f'{ours}.pointwise_conv', 3),
    }


def student_options(weights):
    """Options of :class:`FastSegFormerHead`, less ``in_channels``."""
    stem = size(weights, 'convert_channel.conv.0.weight')
    group = 'global_feature.bottleneck{}.'
    num_groups = 0
    while count(weights, group.format(num_groups + 1)):
        num_groups += 1
    if num_groups == 0:
        raise ValueError(f'it lacks the linear bottlenecks, {group.format(1)!r}*')
    groups = [group.format(i + 1) for i in range(num_groups)]
    hidden = size(weights, f'{groups[0]}0.block.0.conv.0.weight')
    branch = size(weights, 'cnn1.0.weight') if 'cnn1.0.weight' in weights else None
    options = dict(
        channels=size(weights, 'FFM.dwconv.conv.0.weight'),
        stem_channels=stem,
        bottleneck_channels=[size(weights, f'{g}0.block.2.weight') for g in groups],
        num_blocks=[count(weights, g) for g in groups],
        expand_ratio=hidden // stem,
        # the pooling pyramid has four convolutions, the multi-scale one eight
        pyramid='msp' if count(weights, 'global_feature.ppm.conv5.conv.') else 'ppm',
        branch_channels=branch,
    )
    last = 'classify.conv.1'
    if branch is not None:
        options['branch_separable'] = 'cnn2.conv.3.weight' in weights
        last = 'cnn_up.1'
        if 'cnn_up.1.conv.0.weight' in weights:
            last = 'cnn_up.2'
            options['branch_refine_channels'] = size(weights, 'cnn_up.1.conv.0.weight')
    options['num_classes'] = size(weights, f'{last}.weight')
    return options


def student_modules(options):
    """{official module: module of FastSegFormerHead} for these options."""
    names = conv_norm('convert_channel.conv', 'stem')

    starts = [0, *accumulate(options['num_blocks'])]
    for group, (start, stop) in enumerate(pairwise(starts), 1):
        for i in range(start, stop):
            official = f'global_feature.bottleneck{group}.{i - start}.block'
            for j in range(2):
                names |= conv_norm(f'{official}.{j}.conv', f'bottleneck.{i}.conv.{j}')
            names |= conv_norm(official, f'bottleneck.{i}.conv.2', 2)

    pyramid = 'global_feature.ppm'
    names |= conv_norm(f'{pyramid}.out.conv', 'pyramid.out')
    for i in range(4):
        branch = f'pyramid.branches.{i}'
        if options['pyramid'] == 'msp':
            names |= conv_norm(f'{pyramid}.conv{i + 1}.conv', f'{branch}.0')
            names |= conv_norm(f'{pyramid}.conv{i + 5}.conv', f'{branch}.1')
        else:
            # position 0 is the pooling
            names |= conv_norm(f'{pyramid}.conv{i + 1}.conv', f'{branch}.1')

    names |= conv_norm('FFM.dwconv.conv', 'fusion.dwconv')
    for part in ('conv_lower_res', 'conv_higher_res'):
        names |= conv_norm(f'FFM.{part}', f'fusion.{part}')
    for i in range(2):
        names |= separable(f'classify.dsconv{i + 1}.conv', f'classifier.{i}')

    if options['branch_channels'] is None:
        return names | {'classify.conv.1': 'conv_seg'}
    names['classify.conv.1'] = 'branch.reduce.conv'
    names |= conv_norm('cnn1', 'branch.image_conv')
    fuse = separable if options['branch_separable'] else conv_norm
    names |= fuse('cnn2.conv', 'branch.fuse')
    if 'branch_refine_channels' not in options:
        return names | {'cnn_up.1': 'conv_seg'}
    return names | conv_norm('cnn_up.1.conv', 'refine') | {'cnn_up.2': 'conv_seg'}


def teacher_options(weights):
    """Options of :class:`AttUNetHead`, less ``in_channels``."""
    # official levels are numbered from shallow to deep, ours the other way
    decoder = [size(weights, f'up{i}.up.1.weight') for i in (4, 3, 2, 1)]
    options = dict(
        bottleneck_channels=size(weights, 'bottle.0.weight'),
        decoder_channels=decoder,
        skip_channels=[None] * 4,
        num_classes=size(weights, 'final_up_conv.1.weight'),
    )
    for i, channels in enumerate(decoder):
        key = f'convert{i + 1}.weight'
        if key not in weights:
            continue
        if size(weights, key, 1) == channels:
            options['skip_channels'][i] = size(weights, key)
        elif i == 3:
            # Swin-S has this layer at Swin-T's width and never runs it
            options['idle_channels'] = size(weights, key)
    return options


def teacher_modules(options):
    """{official module: module of AttUNetHead} for these options."""
    names = conv_norm('bottle', 'bottleneck') | {'final_up_conv.1': 'conv_seg'}
    for i, skip_channels in enumerate(options['skip_channels']):
        level, ours = 4 - i, f'decoder.{i}'
        names |= conv_norm(f'up{level}.up', f'{ours}.up', 1)
        for official, part in (('W_g', 'w_gate'), ('W_x', 'w_skip'), ('psi', 'psi')):
            names |= conv_norm(f'Att{level}.{official}', f'{ours}.gate.{part}')
        pairs = {f'conv{level}.conv': f'{ours}.conv'}
        if level > 1:
            names |= conv_norm(f'change{i + 1}', f'{ours}.skip_conv')
        else:
            pairs['cnn_up.1.conv'] = f'{ours}.skip_conv.1'
        for official, pair in pairs.items():
            names |= conv_norm(official, f'{pair}.0')
            names |= conv_norm(official, f'{pair}.1', 3)
        if skip_channels is not None:
            names[f'convert{i + 1}'] = f'{ours}.project.conv'
    if 'idle_channels' in options:
        names['convert4'] = 'idle_conv'
    return names
