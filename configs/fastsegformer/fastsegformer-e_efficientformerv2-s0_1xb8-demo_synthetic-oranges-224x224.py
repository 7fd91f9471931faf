# A demonstration: from scratch on synthetic oranges, about 5 minutes on 2 CPU
# cores. fastsegformer synthetic-oranges makes the images.
_base_ = [
    '../_base_/models/fastsegformer-e.py',
    '../_base_/datasets/navel_orange_224x224.py',
    '../_base_/default_runtime.py'
]
max_iters = 300
warmup_iters = 20
base_lr = 4e-3
data_root = 'data/synthetic_oranges'

# In so few iterations there is no time to learn first that nearly all of it is
# background: the classifier knows it from the start.
model = dict(
    decode_head=dict(
        init_cfg=dict(
            type='Normal',
            std=0.01,
            override=dict(
                name='conv_seg', type='ClassPrior', prior=[97, 1, 1, 1]))))

# the official augmentation with half its range of scales, to see every defect
# more often
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
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

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='Adam', lr=base_lr, betas=(0.9, 0.999), weight_decay=0.))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        begin=0,
        end=warmup_iters,
        by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-5,
        begin=warmup_iters,
        end=max_iters,
        by_epoch=False)
]
train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=max_iters))
log_processor = dict(by_epoch=False)
