_base_ = './fastsegformer_poolformer-s24_1xb32-100e_neu-seg-224x224.py'
# the official weights
checkpoint = (
    'https://github.com/sail-sg/poolformer/releases/download/v1.0/'
    'poolformer_s24.pth.tar')
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
# the paper's share of the epochs: 50 of 1000
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=5)]
