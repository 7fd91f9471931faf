# The demonstration's student, distilled: the teacher sees 224x224.
_base_ = [
    './fastsegformer-e_efficientformerv2-s0_1xb8-300i_'
    'synthetic-oranges-128x128.py', '../../_base_/distill/pkl_nfd.py',
    '../../_base_/distill/connectors_fastsegformer-e_swin-half-att-unet.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
find_unused_parameters = False  # stages 1 and 3 are distilled

# So few iterations leave no time to follow the labels after the teacher: a
# hundredth of the paper's weight on the features, a twelfth on the logits, and
# neither before the student has found the defects, 3 % of the pixels.
light = {
    f'loss_nfd_{pair}': dict(type='NFDLoss', loss_weight=0.05)
    for pair in _base_.connectors
}
model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher=('{{ fileDirname }}/att-unet_swin-half_1xb8-200i_'
             'synthetic-oranges-224x224.py'),
    teacher_ckpt='work_dirs/demo/teacher/best_mIoU_iter_*.pth',
    student_size=_base_.crop_size,
    distiller=dict(
        _base_.distiller,
        connectors=_base_.connectors,
        distill_losses=dict(
            loss_pkl=dict(type='PKLLoss', loss_weight=0.04), **light)))
del light
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    # the student's augmentation, at the teacher's size
    dict(
        type='RandomScalePaste',
        size=(224, 224),
        scale_range=(0.6, 1.5),
        pad_val=128,
        seg_pad_val=0),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomHSV', hue_gain=0.1, saturation_gain=0.7, value_gain=0.3),
    dict(type='PackSegInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
custom_hooks = [
    dict(type='mmrazor.CheckTeacherHook'),
    dict(type='mmrazor.DistillScheduleHook', warmup=150, by_epoch=False),
    dict(type='mmrazor.ExportStudentHook')
]
