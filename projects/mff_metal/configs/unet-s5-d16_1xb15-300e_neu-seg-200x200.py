# MMSegmentation's UNet, at the width of MFF-Metal's table and without an auxiliary
# head.
_base_ = [
    '../../../configs/_base_/models/unet-s5-d16.py',
    './_base_/datasets/neu_seg_200x200.py',
    './_base_/schedules/adam-step_300e.py', '../../../configs/_base_/default_runtime.py'
]
custom_imports = dict(imports=['fastsegformer_mm', 'mff_metal', 'robust_training'])
model = dict(
    # UNet wants sides that are multiples of 16; the prediction is cut to the image
    data_preprocessor=dict(size_divisor=16, test_cfg=dict(size_divisor=16)),
    backbone=dict(base_channels=32),
    decode_head=dict(in_channels=32, channels=32, num_convs=0, dropout_ratio=0.),
    auxiliary_head=None)
