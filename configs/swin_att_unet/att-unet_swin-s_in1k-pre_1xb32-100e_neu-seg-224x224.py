_base_ = './att-unet_swin-s_1xb32-100e_neu-seg-224x224.py'
# the official weights
checkpoint = (
    'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
    'swin_small_patch4_window7_224.pth')
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
# the paper's share of the epochs: 50 of 1000
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=5)]
