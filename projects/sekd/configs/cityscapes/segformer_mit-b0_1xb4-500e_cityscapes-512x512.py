# SegFormer-B0 alone on Cityscapes: the student of this folder without a teacher.
_base_ = [
    '../../../../configs/_base_/models/segformer_mit-b0.py',
    '../../../../configs/_base_/datasets/cityscapes_512x1024.py',
    '../_base_/schedules/adamw_500e.py',
    '../../../../configs/_base_/default_runtime.py'
]
crop_size = (512, 512)  # height, width
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(
        type='RandomResize',
        scale=(2048, 1024),
        ratio_range=(0.5, 2.0),
        keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs')
]
train_dataloader = dict(batch_size=4, dataset=dict(pipeline=train_pipeline))
model = dict(decode_head=dict(num_classes=19))
