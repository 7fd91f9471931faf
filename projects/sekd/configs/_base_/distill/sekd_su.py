# SEKD-SU: the maps, a window of the student's hidden (SU), 0.5 in all.
_base_ = './pairs.py'
distiller = dict(
    distill_losses=dict(
        loss_feature1=dict(type='MaskedReconstructionLoss', loss_weight=0.125),
        loss_feature2=dict(type='MaskedReconstructionLoss', loss_weight=0.125),
        loss_feature3=dict(type='MaskedReconstructionLoss', loss_weight=0.125),
        loss_feature4=dict(type='MaskedReconstructionLoss', loss_weight=0.125)))
