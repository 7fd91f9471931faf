# KD1: PIDNet-L and PIDNet-S see 224x224, in the batches of 32 for which the student's
# hard-example loss is set. Of its three heads a network in eval mode, as the teacher
# is, runs the main one alone, whose classifier is `conv_seg`.
#
# pair     student                          teacher
# fusion   the three branches, stride 8     the same
# logits   stride 8                         the same
_base_ = '../../comparison/pidnet-s_1xb32-100e_neu-seg-224x224.py'
custom_imports = dict(imports=['fastsegformer_mm.distillation', 'robust_training'])
teacher_name = 'pidnet-l_1xb32-100e_neu-seg-224x224'

model = dict(
    _delete_=True,
    _scope_='mmrazor',
    type='MultiResolutionDistill',
    architecture=dict(_scope_='mmseg', **_base_.model),
    teacher='{{ fileDirname }}/../../comparison/' f'{teacher_name}.py',
    teacher_ckpt=f'work_dirs/{teacher_name}/best_mIoU_epoch_*.pth',
    distiller=dict(
        type='ConfigurableDistiller',
        student_recorders=dict(
            fusion=dict(type='ModuleOutputs', source='backbone.dfm'),
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        teacher_recorders=dict(
            fusion=dict(type='ModuleOutputs', source='backbone.dfm'),
            logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
        connectors=dict(
            fusion=dict(
                type='ConvModuleConnector', in_channel=128, out_channel=256,
                act_cfg=None)),
        distill_losses=dict(
            loss_nfd_fusion=dict(type='NFDLoss', loss_weight=5.0),
            loss_pkl=dict(type='PKLLoss', tau=2.0, k1=0.5, loss_weight=0.5)),
        loss_forward_mappings=dict(
            loss_nfd_fusion=dict(
                preds_S=dict(
                    from_student=True, recorder='fusion', connector='fusion'),
                preds_T=dict(from_student=False, recorder='fusion')),
            loss_pkl=dict(
                preds_S=dict(from_student=True, recorder='logits'),
                preds_T=dict(from_student=False, recorder='logits')))))
custom_hooks = [
    dict(type='mmrazor.CheckTeacherHook', num_batches=50),
    dict(type='mmrazor.ExportStudentHook')
]
