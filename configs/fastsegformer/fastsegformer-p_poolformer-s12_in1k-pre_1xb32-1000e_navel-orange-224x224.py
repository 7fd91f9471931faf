_base_ = [
    '../_base_/models/fastsegformer-p.py',
    '../_base_/datasets/navel_orange_224x224.py',
    '../_base_/schedules/adam_1000e.py', '../_base_/default_runtime.py'
]
# the official weights
checkpoint = (
    'https://github.com/sail-sg/poolformer/releases/download/v1.0/'
    'poolformer_s12.pth.tar')
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=50)]
