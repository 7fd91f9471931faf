_base_ = [
    '../_base_/models/fastsegformer-p.py',
    '../_base_/datasets/neu_seg_224x224.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(arch='s36'),
    decode_head=dict(
        bottleneck_channels=[256, 320, 384],
        expand_ratio=4,
        num_blocks=[3, 3, 3],
        branch_channels=256,
        branch_separable=False,
        branch_refine_channels=128))
