# KD2: SegFormer-B2 sees 512x512, FastSegFormer-E 224x224. Both backbones give maps
# at strides 4 to 32.
_base_ = [
    '../../fastsegformer/fastsegformer-e_efficientformerv2-s0_1xb32-100e_'
    'neu-seg-224x224.py',
    '../../_base_/distill/pkl_nfd_stages.py',
    '../../_base_/distill/teacher_512x512.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
find_unused_parameters = False  # stages 1 and 3 are distilled
teacher_name = 'segformer_mit-b2_1xb6-100e_neu-seg-512x512'

connectors = dict(
    stage1=dict(
        type='ConvModuleConnector', in_channel=32, out_channel=64,
        act_cfg=None),
    stage2=dict(
        type='ConvModuleConnector', in_channel=48, out_channel=128,
        act_cfg=None),
    stage3=dict(
        type='ConvModuleConnector', in_channel=96, out_channel=320,
        act_cfg=None),
    stage4=dict(
        type='ConvModuleConnector', in_channel=176, out_channel=512,
        act_cfg=None))
model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/../../comparison/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_epoch_*.pth',
    student_size=_base_.crop_size,
    distiller=dict(connectors=connectors, **_base_.distiller))
train_dataloader = dict(
    batch_size=6, dataset=dict(pipeline=_base_.teacher_train_pipeline))
custom_hooks = [
    dict(
        type='mmrazor.CheckTeacherHook',
        num_batches=50,
        pipeline=_base_.teacher_test_pipeline),
    dict(type='mmrazor.ExportStudentHook')
]
