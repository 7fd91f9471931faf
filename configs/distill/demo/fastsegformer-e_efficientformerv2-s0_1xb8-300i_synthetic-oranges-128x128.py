# The demonstration's student alone, on synthetic oranges:
# fastsegformer synthetic-oranges makes the images.
_base_ = [
    '../../_base_/models/fastsegformer-e.py',
    '../../_base_/datasets/navel_orange_224x224.py',
    '../../_base_/schedules/adam_300i.py', '../../_base_/default_runtime.py'
]
data_root = 'data/synthetic_oranges'
crop_size = (128, 128)
# In so few iterations there is no time to learn first that nearly all of it is
# background: the classifier knows it from the start.
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
        size=crop_size,
        scale_range=(0.6, 1.5),
        pad_val=128,
        seg_pad_val=0),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomHSV', hue_gain=0.1, saturation_gain=0.7, value_gain=0.3),
    dict(type='PackSegInputs')
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LetterBox', size=crop_size),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs', meta_keys={{_base_.meta_keys}})
]
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, pipeline=test_pipeline))
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=300))
log_processor = dict(by_epoch=False)
