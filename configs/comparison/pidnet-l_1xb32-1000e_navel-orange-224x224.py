_base_ = './pidnet-s_1xb32-1000e_navel-orange-224x224.py'
model = dict(
    backbone=dict(
        channels=64, ppm_channels=112, num_stem_blocks=3, num_branch_blocks=4),
    decode_head=dict(in_channels=256, channels=256))
