# What a FastSegFormer learns from an attention U-Net's feature maps: seven pairs of
# normalised ones (NFD), with the paper's weight. A config takes it as
# `distiller=dict(connectors=..., **_base_.distiller)`.
#
# pair     student                      teacher
# stage1-4 the backbone's four maps     the backbone's four maps
# pyramid  pyramid output, stride 32    bottleneck, stride 32
# fusion   fusion output, stride 8      decoder level 3, stride 8
# branch   image branch, stride 2       decoder level 1, stride 2
distiller = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(
        backbone=dict(type='ModuleOutputs', source='backbone'),
        pyramid=dict(type='ModuleOutputs', source='decode_head.pyramid'),
        fusion=dict(type='ModuleOutputs', source='decode_head.fusion'),
        branch=dict(type='ModuleOutputs', source='decode_head.branch')),
    teacher_recorders=dict(
        backbone=dict(type='ModuleOutputs', source='backbone'),
        pyramid=dict(type='ModuleOutputs', source='decode_head.bottleneck'),
        fusion=dict(type='ModuleOutputs', source='decode_head.decoder.1'),
        branch=dict(type='ModuleOutputs', source='decode_head.decoder.3')),
    distill_losses=dict(
        loss_nfd_stage1=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_stage2=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_stage3=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_stage4=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_pyramid=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_fusion=dict(type='NFDLoss', loss_weight=5.0),
        loss_nfd_branch=dict(type='NFDLoss', loss_weight=5.0)),
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
            preds_T=dict(from_student=False, recorder='backbone', data_idx=3)),
        loss_nfd_pyramid=dict(
            preds_S=dict(
                from_student=True, recorder='pyramid',
                connector='pyramid'),
            preds_T=dict(from_student=False, recorder='pyramid')),
        loss_nfd_fusion=dict(
            preds_S=dict(
                from_student=True, recorder='fusion',
                connector='fusion'),
            preds_T=dict(from_student=False, recorder='fusion')),
        loss_nfd_branch=dict(
            preds_S=dict(
                from_student=True, recorder='branch',
                connector='branch'),
            preds_T=dict(from_student=False, recorder='branch'))))
