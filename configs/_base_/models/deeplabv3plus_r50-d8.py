# DeepLabV3+ on ResNet-50, a teacher: the same as on ResNet-18, wider and deeper.
_base_ = './deeplabv3plus_r18-d8.py'
model = dict(
    backbone=dict(depth=50),
    decode_head=dict(
        in_channels=2048, channels=512, c1_in_channels=256, c1_channels=48),
    auxiliary_head=dict(in_channels=1024, channels=256))
