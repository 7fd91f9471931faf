_base_ = [
    './_base_/models/deeplabv3plus_mobilenet-v2-d16.py',
    '../../../configs/_base_/datasets/neu_seg_224x224.py',
    '../../../configs/_base_/schedules/adam_100e.py',
    '../../../configs/_base_/default_runtime.py'
]
