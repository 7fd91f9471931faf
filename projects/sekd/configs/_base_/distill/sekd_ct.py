# SEKD-CT: the maps and the Gram matrices of their channels (CT), 0.5 in all.
_base_ = './pairs.py'
distiller = dict(
    distill_losses=dict(
        loss_feature1=dict(type='ContextAlignmentLoss', loss_weight=0.125),
        loss_feature2=dict(type='ContextAlignmentLoss', loss_weight=0.125),
        loss_feature3=dict(type='ContextAlignmentLoss', loss_weight=0.125),
        loss_feature4=dict(type='ContextAlignmentLoss', loss_weight=0.125)))
