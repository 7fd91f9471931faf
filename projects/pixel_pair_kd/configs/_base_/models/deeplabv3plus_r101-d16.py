# DeepLabV3+ on ResNet-101, the teacher: the same as on ResNet-18, deeper.
_base_ = './deeplabv3plus_r18-d16.py'
model = dict(
    backbone=dict(depth=101),
    decode_head=dict(in_channels=2048, c1_in_channels=256))
