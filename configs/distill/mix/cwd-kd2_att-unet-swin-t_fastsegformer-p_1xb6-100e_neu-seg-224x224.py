# Channel-wise distillation (CWD) of MMRazor, with its weights, on the logits:
# Swin-T-Att-UNet sees 512x512, FastSegFormer-P 224x224.
_base_ = [
    '../../fastsegformer/fastsegformer-p_poolformer-s12_1xb32-100e_'
    'neu-seg-224x224.py',
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
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        teacher_recorders=dict(
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        distill_losses=dict(
            # CWD takes two maps of one size. With the teacher at 512x512 it is
            # compared with P&KL and NFD on equal terms, by the loss alone.
            loss_cwd=dict(
                type='ResizeTeacherLoss',
                loss=dict(type='ChannelWiseDivergence', tau=1.0),
                loss_weight=5.0)),
        loss_forward_mappings=dict(
            loss_cwd=dict(
                preds_S=dict(from_student=True, recorder='logits'),
                preds_T=dict(from_student=False, recorder='logits')))))
train_dataloader = dict(
    batch_size=6, dataset=dict(pipeline=_base_.teacher_train_pipeline))
custom_hooks = [
    dict(
        type='mmrazor.CheckTeacherHook',
        num_batches=50,
        pipeline=_base_.teacher_test_pipeline),
    dict(type='mmrazor.ExportStudentHook')
]
