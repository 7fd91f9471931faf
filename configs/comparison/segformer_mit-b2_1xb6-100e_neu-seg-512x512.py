# A teacher: see ../distill/mix.
_base_ = [
    '../_base_/models/segformer_mit-b2.py',
    '../_base_/datasets/neu_seg_512x512.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
