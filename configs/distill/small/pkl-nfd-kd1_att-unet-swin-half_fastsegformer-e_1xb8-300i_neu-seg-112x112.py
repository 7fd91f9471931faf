# KD1 at a size for a CPU: both networks see 112x112.
_base_ = [
    './fastsegformer-e_efficientformerv2-s0_1xb8-300i_neu-seg-112x112.py',
    '../../_base_/distill/pkl_nfd.py',
    '../../_base_/distill/connectors_fastsegformer-e_swin-half-att-unet.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation'])
find_unused_parameters = False  # stages 1 and 3 are distilled

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher=(
        '{{ fileDirname }}/att-unet_swin-half_1xb8-600i_neu-seg-112x112.py'),
    teacher_ckpt=(
        'work_dirs/att-unet_swin-half_1xb8-600i_neu-seg-112x112/'
        'best_mIoU_iter_*.pth'),
    distiller=dict(connectors=_base_.connectors, **_base_.distiller))
custom_hooks = [
    dict(type='mmrazor.CheckTeacherHook', num_batches=-1),
    dict(type='mmrazor.ExportStudentHook')
]
