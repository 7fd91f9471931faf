_base_ = [
    '../_base_/models/fastsegformer-e.py',
    '../_base_/datasets/neu_seg_224x224.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
# the official weights, to be downloaded by hand: the link to eformer_s0_450.pth
# is in https://github.com/snap-research/EfficientFormer
checkpoint = 'checkpoints/eformer_s0_450.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
# the paper's share of the epochs: 50 of 1000
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=5)]
