# A teacher: see ../distill/mix.
_base_ = [
    '../_base_/models/deeplabv3plus_r50-d8.py',
    '../_base_/datasets/neu_seg_512x512.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
