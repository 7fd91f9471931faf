# LMFFNet, from which MFF-Metal grew.
# RGB in [0, 1], as all networks of this package are trained
data_preprocessor = dict(
    type='SegDataPreProcessor',
    mean=[0, 0, 0],
    std=[255, 255, 255],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    # training batches of unequal images are padded to multiples of this
    size_divisor=8)
model = dict(
    type='EncoderDecoderWithImage',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='LMFFNet'),
    decode_head=dict(
        type='LMFFNetHead',
        # three maps, and the image for its size
        in_channels=(35, 131, 259, 3),
        num_classes=4,
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    # model training and testing settings
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
