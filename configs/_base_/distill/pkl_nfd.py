# What a FastSegFormer learns from an attention U-Net: the seven pairs of feature maps
# of nfd.py, and the logits (P&KL), with the paper's weights. A config takes it as
# `distiller=dict(connectors=..., **_base_.distiller)`.
#
# pair     student                      teacher
# logits   at the input's size          at the input's size
_base_ = './nfd.py'
distiller = dict(
    student_recorders=dict(
        logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
    teacher_recorders=dict(
        logits=dict(type='ModuleOutputs', source='decode_head.conv_seg')),
    distill_losses=dict(
        loss_pkl=dict(type='PKLLoss', tau=2.0, k1=0.5, loss_weight=0.5)),
    loss_forward_mappings=dict(
        loss_pkl=dict(
            preds_S=dict(from_student=True, recorder='logits'),
            preds_T=dict(from_student=False, recorder='logits'))))
