# At a size for a CPU.
_base_ = [
    './deeplabv3plus_r18-d16_1xb8-300i_neu-seg-112x112.py',
    './_base_/distill/pixel_pair.py'
]
custom_imports = dict(
    imports=['fastsegformer_mm.distillation', 'pixel_pair_kd', 'robust_training'])
teacher_name = 'deeplabv3plus_r101-d16_1xb8-600i_neu-seg-112x112'

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
