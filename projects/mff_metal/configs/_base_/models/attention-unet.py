# Attention U-Net, half as wide as it is mostly used: the width of MFF-Metal's table.
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
    type='EncoderDecoder',
    data_preprocessor=data_preprocessor,
    backbone=dict(type='AttentionUNet', base_channels=32),
    # a classifier of each pixel's features
    decode_head=dict(
        type='FCNHead',
        in_channels=32,
        in_index=-1,
        channels=32,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.,
        num_classes=4,
        loss_decode=dict(
            type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0)),
    # model training and testing settings
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
