# SegFormer-B0 alone on Pascal VOC 2012: the student of this folder without a teacher.
_base_ = [
    '../../../../configs/_base_/models/segformer_mit-b0.py',
    '../../../../configs/_base_/datasets/pascal_voc12.py',
    '../_base_/schedules/adamw_500e.py',
    '../../../../configs/_base_/default_runtime.py'
]
train_dataloader = dict(batch_size=4)
model = dict(decode_head=dict(num_classes=21))
