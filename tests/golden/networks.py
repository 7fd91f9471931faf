"""This package's network for each golden file, and its outputs in their order."""

import torch
from mmengine.utils import import_modules_from_strings
from mmseg.registry import MODELS

import_modules_from_strings(['fastsegformer_mm', 'mmpretrain.models'])

BACKBONES = {
    'e': (dict(type='EfficientFormerV2', arch='s0'), [32, 48, 96, 176]),
    **{
        name: (
            dict(
                type='mmpretrain.PoolFormer',
                arch=arch,
                out_indices=(0, 2, 4, 6),
                frozen_stages=-1,
            ),
            [64, 128, 320, 512],
        )
        for name, arch in (('p', 's12'), ('s24', 's24'), ('s36', 's36'))
    },
    'swin_t': (dict(type='SwinLastNorm'), [96, 192, 384, 768]),
    'swin_s': (dict(type='SwinLastNorm', depths=(2, 2, 18, 2)), [96, 192, 384, 768]),
}
SMALL_BRANCH = dict(branch_channels=32)
LARGE_BRANCH = dict(
    branch_channels=256, branch_separable=False, branch_refine_channels=128
)
HEADS = {
    'e': dict(
        channels=320, stem_channels=128, bottleneck_channels=[128, 160],
        num_blocks=[3, 3], **SMALL_BRANCH,
    ),
    'p': dict(
        channels=512, stem_channels=256, bottleneck_channels=[256], num_blocks=[2],
        **SMALL_BRANCH,
    ),
    's24': dict(
        channels=512, stem_channels=256, bottleneck_channels=[256, 320],
        num_blocks=[3, 3], **LARGE_BRANCH,
    ),
    's36': dict(
        channels=512, stem_channels=256, bottleneck_channels=[256, 320, 384],
        num_blocks=[3, 3, 3], expand_ratio=4, **LARGE_BRANCH,
    ),
}  # fmt: skip
HEADS['swin_t'] = HEADS['s36']
TEACHERS = {
    'swin_t_att_unet': dict(),
    'swin_s_att_unet': dict(
        decoder_channels=[512, 256, 128, 128],
        skip_channels=[192, 96, 128, None],
        idle_channels=64,
    ),
}


def build(name, num_classes=4):
    """The segmentor of a golden file, in eval mode, with random weights.

    Args:
        name (str): The file's name; besides, ``fastsegformer_s36`` and
            ``swin_s_att_unet``, which have no file.
        num_classes (int): Classes. Defaults to 4.

    Returns:
        EncoderDecoderWithImage: The segmentor.
    """
    if name in TEACHERS:
        backbone, widths = BACKBONES[name.removesuffix('_att_unet')]
        head = dict(type='AttUNetHead', in_channels=[*widths, 3], **TEACHERS[name])
    else:
        name = name.removeprefix('fastsegformer_')
        without_branch = name.endswith('_noirb')
        pyramid = 'ppm' if '_ppm' in name else 'msp'
        name = name.removesuffix('_noirb').removesuffix('_ppm').removesuffix('_msp')
        backbone, widths = BACKBONES[name]
        head = dict(
            type='FastSegFormerHead',
            in_channels=[*widths, 3],
            pyramid=pyramid,
            **HEADS[name],
        )
        if without_branch:
            head.update(branch_channels=None, in_channels=widths)
    head['num_classes'] = num_classes
    return MODELS.build(
        dict(
            type='EncoderDecoderWithImage',
            backbone=backbone,
            decode_head=head,
            test_cfg=dict(mode='whole'),
        )
    ).eval()


def outputs(model, image):
    """Run a segmentor and catch what the golden files hold.

    Args:
        model (EncoderDecoderWithImage): The segmentor.
        image (Tensor): (1, 3, H, W).

    Returns:
        dict[str, Tensor]: Outputs by name, in the order of the golden files; the
        logits at the size of the image.
    """
    head = model.decode_head
    if hasattr(head, 'decoder'):
        taps = {
            'bottleneck': head.bottleneck,
            'decoder level 3': head.decoder[1],
            'decoder level 1': head.decoder[3],
        }
    else:
        taps = {'pyramid': head.pyramid, 'fusion': head.fusion}
        if head.branch is not None:
            taps['branch'] = head.branch
    caught = {}

    def catch(name):
        def hook(module, inputs, output):
            caught[name] = output

        return hook

    handles = [
        module.register_forward_hook(catch(name))
        for name, module in {'backbone': model.backbone, **taps}.items()
    ]
    size = tuple(image.shape[2:])
    with torch.no_grad():
        logits = model.encode_decode(image, [dict(img_shape=size)])
    for handle in handles:
        handle.remove()
    stages = {f'stage {i}': x for i, x in enumerate(caught.pop('backbone'), 1)}
    return {**stages, **caught, 'logits': logits}
