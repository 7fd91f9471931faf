# FastSegFormer-P: PoolFormer-S12, MSP, image reconstruction branch.
norm_cfg = dict(type='BN', requires_grad=True)
# RGB in [0, 1], as all networks of the paper are trained
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[0, 0, 0],
    std=[255, 255, 255],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    # training batches of unequal images are padded to multiples of this
    size_divisor=32)
# the decoder uses the maps of stages 2 and 4 alone: the output norms of stages 1
# and 3 get no gradient, which several GPUs have to be told
find_unused_parameters = True
model = dict(
    type='EncoderDecoderWithImage',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type='mmpretrain.PoolFormer',
        arch='s12',
        out_indices=(0, 2, 4, 6),
        # 0, the default, freezes the patch embedding
        frozen_stages=-1),
    decode_head=dict(
        type='FastSegFormerHead',
        # four stages, and the image for the reconstruction branch
        in_channels=[64, 128, 320, 512, 3],
        channels=512,
        stem_channels=256,
        bottleneck_channels=[256],
        expand_ratio=3,
        num_blocks=[2],
        pyramid='msp',
        branch_channels=32,
        dropout_ratio=0.1,
        num_classes=4,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    # model training and testing settings
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
