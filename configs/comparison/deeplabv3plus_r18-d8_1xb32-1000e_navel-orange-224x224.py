_base_ = [
    '../_base_/models/deeplabv3plus_r18-d8.py',
    '../_base_/datasets/navel_orange_224x224.py',
    '../_base_/schedules/adam_1000e.py', '../_base_/default_runtime.py'
]
