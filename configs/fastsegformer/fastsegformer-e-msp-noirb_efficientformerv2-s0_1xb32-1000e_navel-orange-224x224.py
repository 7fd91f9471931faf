_base_ = './fastsegformer-e_efficientformerv2-s0_1xb32-1000e_navel-orange-224x224.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        in_channels=[32, 48, 96, 176],
        branch_channels=None))
