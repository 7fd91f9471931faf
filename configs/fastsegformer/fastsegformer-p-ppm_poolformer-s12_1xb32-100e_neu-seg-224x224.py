_base_ = './fastsegformer-p_poolformer-s12_1xb32-100e_neu-seg-224x224.py'
model = dict(decode_head=dict(pyramid='ppm'))
