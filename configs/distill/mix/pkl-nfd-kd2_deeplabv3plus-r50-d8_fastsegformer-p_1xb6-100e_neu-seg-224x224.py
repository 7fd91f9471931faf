# KD2: DeepLabV3+ sees 512x512, FastSegFormer-P 224x224. The maps of a pair have 512
# channels each, so no connector is needed.
#
# pair     student                      teacher
# context  pyramid output, stride 32    ASPP output, stride 8
# detail   fusion output, stride 8      decoder output, stride 4
# logits   at the input's size          stride 4
_base_ = [
    '../../fastsegformer/fastsegformer-p_poolformer-s12_1xb32-100e_'
    'neu-seg-224x224.py',
    '../../_base_/distill/teacher_512x512.py'
]
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
teacher_name = 'deeplabv3plus_r50-d8_1xb6-100e_neu-seg-512x512'

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/../../comparison/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_epoch_*.pth',
    student_size=_base_.crop_size,
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            context=dict(type='ModuleOutputs', source='decode_head.pyramid'),
            detail=dict(type='ModuleOutputs', source='decode_head.fusion'),
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        teacher_recorders=dict(
            context=dict(
                type='ModuleOutputs', source='decode_head.bottleneck'),
            detail=dict(
                type='ModuleOutputs', source='decode_head.sep_bottleneck'),
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        distill_losses=dict(
            loss_nfd_context=dict(type='NFDLoss', loss_weight=5.0),
            loss_nfd_detail=dict(type='NFDLoss', loss_weight=5.0),
            loss_pkl=dict(type='PKLLoss', tau=2.0, k1=0.5, loss_weight=0.5)),
        loss_forward_mappings=dict(
            loss_nfd_context=dict(
                preds_S=dict(from_student=True, recorder='context'),
                preds_T=dict(from_student=False, recorder='context')),
            loss_nfd_detail=dict(
                preds_S=dict(from_student=True, recorder='detail'),
                preds_T=dict(from_student=False, recorder='detail')),
            loss_pkl=dict(
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
