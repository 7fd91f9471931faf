_base_ = [
    './_base_/models/deeplabv3plus_r18-d16.py',
    '../../../configs/_base_/datasets/pascal_voc12_aug.py',
    './_base_/schedules/sgd_30k.py',
    '../../../configs/_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint='open-mmlab://resnet18_v1c')),
    decode_head=dict(num_classes=21))
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=3000))
log_processor = dict(by_epoch=False)
