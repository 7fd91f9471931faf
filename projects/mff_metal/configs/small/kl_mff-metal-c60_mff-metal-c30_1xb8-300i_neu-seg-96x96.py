# The student, taught by the small teacher.
_base_ = [
    './mff-metal_c30_1xb8-300i_neu-seg-96x96.py', '../_base_/distill/kl.py'
]
custom_imports = dict(
    imports=['fastsegformer_mm.distillation', 'mff_metal', 'robust_training'])
teacher_name = 'mff-metal_c60_1xb8-600i_neu-seg-96x96'

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_iter_*.pth',
    distiller=_base_.distiller)
custom_hooks = [
    dict(type='mmrazor.CheckTeacherHook', num_batches=-1),
    dict(type='mmrazor.ExportStudentHook')
]
