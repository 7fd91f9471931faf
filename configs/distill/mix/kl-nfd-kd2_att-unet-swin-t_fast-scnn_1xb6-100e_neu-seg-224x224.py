# KD2: Swin-T-Att-UNet sees 512x512, Fast-SCNN 224x224.
#
# pair     student                                 teacher
# context  global feature extractor, stride 32     bottleneck, stride 32
# detail   feature fusion, stride 8                decoder level 3, stride 8
# logits   stride 8                                at the input's size
_base_ = [
    '../../comparison/fast-scnn_1xb32-100e_neu-seg-224x224.py',
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
            context=dict(
                type='ModuleOutputs',
                source='backbone.global_feature_extractor'),
            detail=dict(
                type='ModuleOutputs', source='backbone.feature_fusion'),
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        teacher_recorders=dict(
            context=dict(
                type='ModuleOutputs', source='decode_head.bottleneck'),
            detail=dict(type='ModuleOutputs', source='decode_head.decoder.1'),
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        connectors=dict(
            context=dict(
                type='ConvModuleConnector', in_channel=128, out_channel=1024,
                act_cfg=None),
            detail=dict(
                type='ConvModuleConnector', in_channel=128, out_channel=256,
                act_cfg=None)),
        distill_losses=dict(
            loss_nfd_context=dict(type='NFDLoss', loss_weight=5.0),
            loss_nfd_detail=dict(type='NFDLoss', loss_weight=5.0),
            # Fast-SCNN learns each class by itself, with a sigmoid; the teacher's
            # logits are for a softmax, where a number added to all of a pixel's
            # means nothing. KL does not see it; P&KL's square (k1 < 1) would.
            loss_kl=dict(type='PKLLoss', tau=2.0, k1=1.0, loss_weight=0.25)),
        loss_forward_mappings=dict(
            loss_nfd_context=dict(
                preds_S=dict(
                    from_student=True, recorder='context',
                    connector='context'),
                preds_T=dict(from_student=False, recorder='context')),
            loss_nfd_detail=dict(
                preds_S=dict(
                    from_student=True, recorder='detail', connector='detail'),
                preds_T=dict(from_student=False, recorder='detail')),
            loss_kl=dict(
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
