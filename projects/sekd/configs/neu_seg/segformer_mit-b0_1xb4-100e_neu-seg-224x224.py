# SegFormer-B0 alone on NEU-Seg: the student of this folder without a teacher.
_base_ = [
    '../../../../configs/_base_/models/segformer_mit-b0.py',
    '../../../../configs/_base_/datasets/neu_seg_224x224.py',
    '../_base_/schedules/adamw_100e.py',
    '../../../../configs/_base_/default_runtime.py'
]
train_dataloader = dict(batch_size=4)
