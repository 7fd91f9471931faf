# SEKD on NEU-Seg, at a size for a CPU: SegFormer-B2 teaches SegFormer-B0.
_base_ = [
    './segformer_mit-b0_1xb8-300i_neu-seg-112x112.py',
    '../_base_/distill/sekd.py'
]
custom_imports = dict(
    imports=['fastsegformer_mm.distillation', 'sekd', 'robust_training'])
teacher_name = 'segformer_mit-b2_1xb8-600i_neu-seg-112x112'

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
