# SegFormer-B3 on a set of field images, the teacher of this folder, from ImageNet.
_base_ = './segformer_mit-b0_1xb4-500e_my-crops-512x512.py'
checkpoint = (
    'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/segformer/'
    'mit_b3_20220624-13b1141c.pth')
# as in the pretraining; the student's batches are converted for the teacher
data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint),
        embed_dims=64,
        num_layers=[3, 4, 18, 3]),
    decode_head=dict(in_channels=[64, 128, 320, 512]))
