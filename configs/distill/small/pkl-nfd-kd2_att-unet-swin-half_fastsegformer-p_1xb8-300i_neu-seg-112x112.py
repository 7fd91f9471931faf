# KD2 at a size for a CPU: the teacher sees 224x224, FastSegFormer-P 112x112.
_base_ = [
    './fastsegformer-p_poolformer-s12_1xb8-300i_neu-seg-112x112.py',
    '../../_base_/distill/pkl_nfd.py',
    '../../_base_/distill/connectors_fastsegformer-p_swin-half-att-unet.py',
    '../../_base_/distill/teacher_224x224.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
find_unused_parameters = False  # stages 1 and 3 are distilled

# So few iterations leave no time to follow the labels after the features: a
# hundredth of the paper's weight on each of the seven pairs.
light = {
    f'loss_nfd_{pair}': dict(type='NFDLoss', loss_weight=0.05)
    for pair in _base_.connectors
}
model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher=(
        '{{ fileDirname }}/att-unet_swin-half_1xb8-600i_neu-seg-224x224.py'),
    teacher_ckpt=(
        'work_dirs/att-unet_swin-half_1xb8-600i_neu-seg-224x224/'
        'best_mIoU_iter_*.pth'),
    student_size=_base_.crop_size,
    distiller=dict(
        _base_.distiller,
        connectors=_base_.connectors,
        distill_losses=dict(_base_.distiller.distill_losses, **light)))
del light
train_dataloader = dict(
    dataset=dict(pipeline=_base_.teacher_train_pipeline))
custom_hooks = [
    dict(
        type='mmrazor.CheckTeacherHook',
        num_batches=-1,
        pipeline=_base_.teacher_test_pipeline),
    dict(type='mmrazor.ExportStudentHook')
]
