_base_ = [
    '../_base_/models/swin_t_att_unet.py',
    '../_base_/datasets/neu_seg_224x224.py',
    '../_base_/schedules/adam_100e.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(depths=[2, 2, 18, 2]),
    decode_head=dict(
        decoder_channels=[512, 256, 128, 128],
        # the shallowest gated skip goes without a 1x1 convolution
        skip_channels=[192, 96, 128, None],
        # which the official network has all the same, unused
        idle_channels=64))
