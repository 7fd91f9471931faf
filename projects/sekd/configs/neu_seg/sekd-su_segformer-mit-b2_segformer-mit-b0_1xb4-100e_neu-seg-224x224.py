# SEKD-SU on NEU-Seg: SegFormer-B2 teaches SegFormer-B0.
_base_ = [
    './segformer_mit-b0_1xb4-100e_neu-seg-224x224.py',
    '../_base_/distill/sekd_su.py'
]
custom_imports = dict(
    imports=['fastsegformer_mm.distillation', 'sekd', 'robust_training'])
teacher_name = 'segformer_mit-b2_in1k-pre_1xb4-100e_neu-seg-224x224'

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
