_base_ = [
    '../_base_/models/fast-scnn.py',
    '../_base_/datasets/neu_seg_224x224.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
