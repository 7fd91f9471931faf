# MFF-Metal: the student's widths. The teacher's are (180, 360, 540, 720).
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
    backbone=dict(type='MFFMetalEncoder', channels=(30, 60, 90, 120)),
    decode_head=dict(
        type='MFFMetalHead',
        in_channels=(30, 60, 90, 120),
        num_classes=4,
        # each is a sum over pixels by images, and wants no other weights for another
        # size or batch
        loss_decode=[
            dict(type='SummedCrossEntropyLoss', loss_weight=1.0),
            dict(type='MFFDiceLoss', loss_weight=0.5),
            # takes the maps of boundary_train_pipeline
            dict(type='MFFBoundaryLoss', loss_weight=1e-4)
        ]),
    # model training and testing settings
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
