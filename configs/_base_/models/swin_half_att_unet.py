# The teacher at about half its widths, a quarter of its work: for a CPU.
_base_ = './swin_t_att_unet.py'
model = dict(
    backbone=dict(embed_dims=48),
    decode_head=dict(
        in_channels=[48, 96, 192, 384, 3],
        bottleneck_channels=768,
        decoder_channels=(256, 128, 64, 48),
        skip_channels=(96, 48, 64, 48)))
