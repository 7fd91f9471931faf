# UNet++ with deep supervision: each node of the first row is classified.
_base_ = [
    './_base_/models/unet-plus-plus.py',
    './_base_/datasets/neu_seg_200x200.py',
    './_base_/schedules/adam-step_300e.py', '../../../configs/_base_/default_runtime.py'
]
custom_imports = dict(imports=['fastsegformer_mm', 'mff_metal', 'robust_training'])
head = _base_.model.decode_head
model = dict(
    auxiliary_head=[
        dict(head, in_index=0),
        dict(head, in_index=1),
        dict(head, in_index=2)
    ])
del head
