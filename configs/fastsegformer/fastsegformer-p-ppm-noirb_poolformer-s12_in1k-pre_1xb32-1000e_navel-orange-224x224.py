_base_ = './fastsegformer-p_poolformer-s12_in1k-pre_1xb32-1000e_navel-orange-224x224.py'
model = dict(
    type='EncoderDecoder',
    decode_head=dict(
        in_channels=[64, 128, 320, 512],
        pyramid='ppm',
        branch_channels=None))
