_base_ = [
    '../_base_/models/fastsegformer-e.py',
    '../_base_/datasets/navel_orange_224x224.py',
    '../_base_/schedules/adam_1000e.py', '../_base_/default_runtime.py'
]
# the official weights, to be downloaded by hand: the link to eformer_s0_450.pth
# is in https://github.com/snap-research/EfficientFormer
checkpoint = 'checkpoints/eformer_s0_450.pth'
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=50)]
