# SegFormer-B0 alone on a set of field images: the student of this folder without a
# teacher. Where the images are and what their classes are: change the data base.
_base_ = [
    '../../../../configs/_base_/models/segformer_mit-b0.py',
    '../_base_/datasets/crops_512x512.py',
    '../_base_/schedules/adamw_500e.py',
    '../../../../configs/_base_/default_runtime.py'
]
model = dict(decode_head=dict(num_classes=len(_base_.classes)))
