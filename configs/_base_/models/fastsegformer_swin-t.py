# FastSegFormer on Swin-T: MSP, image reconstruction branch.
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
model = dict(
    type='EncoderDecoderWithImage',
    data_preprocessor=data_preprocessor,
    backbone=dict(
        # only the last stage's output is normalised
        type='SwinLastNorm',
        embed_dims=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7),
    decode_head=dict(
        type='FastSegFormerHead',
        # four stages, and the image for the reconstruction branch
        in_channels=[96, 192, 384, 768, 3],
        channels=512,
        stem_channels=256,
        bottleneck_channels=[256, 320, 384],
        expand_ratio=4,
        num_blocks=[3, 3, 3],
        pyramid='msp',
        branch_channels=256,
        branch_separable=False,
        branch_refine_channels=128,
        dropout_ratio=0.1,
        num_classes=4,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    # model training and testing settings
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
