_base_ = './fastsegformer-p_poolformer-s12_in1k-pre_1xb32-1000e_navel-orange-224x224.py'
model = dict(decode_head=dict(pyramid='ppm'))
