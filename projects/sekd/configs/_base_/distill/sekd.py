# SEKD: the maps at a quarter of their scale (FA), 0.2 in all.
_base_ = './pairs.py'
distiller = dict(
    distill_losses=dict(
        loss_feature1=dict(type='ScaledAlignmentLoss', loss_weight=0.05),
        loss_feature2=dict(type='ScaledAlignmentLoss', loss_weight=0.05),
        loss_feature3=dict(type='ScaledAlignmentLoss', loss_weight=0.05),
        loss_feature4=dict(type='ScaledAlignmentLoss', loss_weight=0.05)))
