# TransUNet at about the scale of MFF-Metal's table.
_base_ = [
    './_base_/models/transunet.py',
    './_base_/datasets/neu_seg_200x200.py',
    './_base_/schedules/adam-step_300e.py', '../../../configs/_base_/default_runtime.py'
]
custom_imports = dict(imports=['fastsegformer_mm', 'mff_metal', 'robust_training'])
model = dict(
    backbone=dict(arch='compact'), decode_head=dict(in_channels=8, channels=8))
