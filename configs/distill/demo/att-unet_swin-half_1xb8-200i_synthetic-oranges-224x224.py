# The demonstration's teacher.
_base_ = [
    '../../_base_/models/swin_half_att_unet.py',
    '../../_base_/datasets/navel_orange_224x224.py',
    '../../_base_/schedules/adam_600i.py', '../../_base_/default_runtime.py'
]
data_root = 'data/synthetic_oranges'
max_iters = 200
model = dict(
    decode_head=dict(
        init_cfg=dict(
            type='Normal',
            std=0.01,
            override=dict(
                name='conv_seg', type='ClassPrior', prior=[97, 1, 1, 1]))))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # the official augmentation with half its range of scales, to see every
    # defect more often
    dict(
        type='RandomScalePaste',
        size=(224, 224),
        scale_range=(0.6, 1.5),
        pad_val=128,
        seg_pad_val=0),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomHSV', hue_gain=0.1, saturation_gain=0.7, value_gain=0.3),
    dict(type='PackSegInputs')
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
test_dataloader = dict(num_workers=1, dataset=dict(data_root=data_root))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, begin=0, end=20, by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        begin=20,
        end=max_iters,
        by_epoch=False)
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
