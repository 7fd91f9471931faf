_base_ = './fastsegformer_poolformer-s36_1xb32-1000e_navel-orange-224x224.py'
# the official weights
checkpoint = (
    'https://github.com/sail-sg/poolformer/releases/download/v1.0/'
    'poolformer_s36.pth.tar')
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=50)]
