_base_ = './fastsegformer-e_efficientformerv2-s0_1xb32-1000e_navel-orange-224x224.py'
model = dict(decode_head=dict(pyramid='ppm'))
