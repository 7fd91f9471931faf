_base_ = [
    './_base_/models/attention-unet.py',
    './_base_/datasets/neu_seg_200x200.py',
    './_base_/schedules/adam-step_300e.py', '../../../configs/_base_/default_runtime.py'
]
custom_imports = dict(imports=['fastsegformer_mm', 'mff_metal', 'robust_training'])
