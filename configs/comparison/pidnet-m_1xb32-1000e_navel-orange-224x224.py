_base_ = './pidnet-s_1xb32-1000e_navel-orange-224x224.py'
model = dict(
    backbone=dict(channels=64), decode_head=dict(in_channels=256))
