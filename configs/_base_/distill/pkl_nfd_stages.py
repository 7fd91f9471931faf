# What a student learns from a teacher where both backbones give four maps: these, at
# equal positions (NFD), and the logits (P&KL). The connectors are the config's:
# `distiller=dict(connectors=dict(stage1=..., ..., stage4=...), **_base_.distiller)`.
_base_ = './pkl.py'
distiller = dict(
    student_recorders=dict(
        backbone=dict(type='ModuleOutputs', source='backbone')),
    teacher_recorders=dict(
        backbone=dict(type='ModuleOutputs', source='backbone')),
    distill_losses=dict(
        loss_nfd_stage1=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_stage2=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_stage3=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_stage4=dict(type='NFDLoss', loss_weight=5.0)),
    loss_forward_mappings=dict(
        loss_nfd_stage1=dict(
            preds_S=dict(
                from_student=True, recorder='backbone', data_idx=0,
                connector='stage1'),
            preds_T=dict(from_student=False, recorder='backbone', data_idx=0)),
        loss_nfd_stage2=dict(
            preds_S=dict(
                from_student=True, recorder='backbone', data_idx=1,
                connector='stage2'),
            preds_T=dict(from_student=False, recorder='backbone', data_idx=1)),
        loss_nfd_stage3=dict(
            preds_S=dict(
                from_student=True, recorder='backbone', data_idx=2,
                connector='stage3'),
            preds_T=dict(from_student=False, recorder='backbone', data_idx=2)),
        loss_nfd_stage4=dict(
            preds_S=dict(
                from_student=True, recorder='backbone', data_idx=3,
                connector='stage4'),
            preds_T=dict(
                from_student=False, recorder='backbone', data_idx=3))))
