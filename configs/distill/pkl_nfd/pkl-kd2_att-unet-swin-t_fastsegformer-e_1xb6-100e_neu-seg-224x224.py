# KD2, logits (P&KL) alone: the teacher sees 512x512, FastSegFormer-E 224x224.
_base_ = [
    '../../fastsegformer/fastsegformer-e_efficientformerv2-s0_1xb32-100e_'
    'neu-seg-224x224.py',
    '../../_base_/distill/pkl.py',
    '../../_base_/distill/teacher_512x512.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
teacher_name = 'att-unet_swin-t_1xb6-100e_neu-seg-512x512'

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/../../swin_att_unet/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_epoch_*.pth',
    student_size=_base_.crop_size,
    distiller=_base_.distiller)
train_dataloader = dict(
    batch_size=6, dataset=dict(pipeline=_base_.teacher_train_pipeline))
custom_hooks = [
    dict(
        type='mmrazor.CheckTeacherHook',
        num_batches=50,
        pipeline=_base_.teacher_test_pipeline),
    dict(type='mmrazor.ExportStudentHook')
]
