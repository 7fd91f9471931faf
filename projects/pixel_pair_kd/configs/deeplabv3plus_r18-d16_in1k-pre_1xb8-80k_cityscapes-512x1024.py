_base_ = [
    './_base_/models/deeplabv3plus_r18-d16.py',
    '../../../configs/_base_/datasets/cityscapes_512x1024.py',
    './_base_/schedules/sgd_80k.py',
    '../../../configs/_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint='open-mmlab://resnet18_v1c')),
    decode_head=dict(num_classes=19))
train_dataloader = dict(
    sampler=dict(type='InfiniteSampler', shuffle=True))
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=8000))
log_processor = dict(by_epoch=False)
