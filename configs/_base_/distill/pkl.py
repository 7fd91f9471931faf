# What a student learns from its teacher's logits alone (P&KL), with the paper's
# weights; as most heads, both have theirs in `conv_seg`. No connector is needed.
distiller = dict(
    type='ConfigurableDistiller',
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
