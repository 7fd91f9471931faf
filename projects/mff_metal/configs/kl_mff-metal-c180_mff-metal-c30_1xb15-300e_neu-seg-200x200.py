# The student, taught by the teacher; both see the same images.
_base_ = [
    './mff-metal_c30_1xb15-300e_neu-seg-200x200.py', './_base_/distill/kl.py'
]
custom_imports = dict(
    imports=['fastsegformer_mm.distillation', 'mff_metal', 'robust_training'])
teacher_name = 'mff-metal_c180_1xb15-300e_neu-seg-200x200'

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_epoch_*.pth',
    distiller=_base_.distiller)
custom_hooks = [
    dict(type='mmrazor.CheckTeacherHook', num_batches=50),
    dict(type='mmrazor.ExportStudentHook')
]
