# The student alone.
_base_ = [
    '../_base_/models/mff-metal.py', '../_base_/datasets/neu_seg_96x96.py',
    '../../../../configs/_base_/schedules/adam_300i.py',
    '../../../../configs/_base_/default_runtime.py'
]
custom_imports = dict(imports=['fastsegformer_mm', 'mff_metal', 'robust_training'])
train_dataloader = dict(
    dataset=dict(pipeline=_base_.boundary_train_pipeline))
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=300))
log_processor = dict(by_epoch=False)
