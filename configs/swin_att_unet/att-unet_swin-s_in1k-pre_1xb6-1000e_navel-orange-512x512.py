_base_ = './att-unet_swin-s_1xb6-1000e_navel-orange-512x512.py'
# the official weights
checkpoint = (
    'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/'
    'swin_small_patch4_window7_224.pth')
model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=checkpoint)))
custom_hooks = [dict(type='FreezeUnfreezeHook', unfreeze_epoch=50)]
