# KD1: the teacher and FastSegFormer-P see 224x224.
_base_ = [
    '../../fastsegformer/fastsegformer-p_poolformer-s12_in1k-pre_1xb32-100e_'
    'neu-seg-224x224.py',
    '../../_base_/distill/pkl_nfd.py',
    '../../_base_/distill/connectors_fastsegformer-p_swin-t-att-unet.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
find_unused_parameters = False  # stages 1 and 3 are distilled
teacher_name = 'att-unet_swin-t_in1k-pre_1xb32-100e_neu-seg-224x224'

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/../../swin_att_unet/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_epoch_*.pth',
    distiller=dict(connectors=_base_.connectors, **_base_.distiller))
train_dataloader = dict(batch_size=6)
# the paper's share of the epochs: 50 of 1000
custom_hooks = [
    dict(type='mmrazor.CheckTeacherHook', num_batches=50),
    dict(type='mmrazor.ExportStudentHook'),
    dict(
        type='FreezeUnfreezeHook',
        modules='architecture.backbone',
        unfreeze_epoch=5)
]
