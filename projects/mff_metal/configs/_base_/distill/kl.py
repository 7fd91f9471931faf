# What MFF-Metal's student learns from its teacher: the logits at the size of the image,
# by the divergence at temperature 0.7. A config takes it as
# `distiller=_base_.distiller`.
distiller = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(
        logits=dict(type='ModuleOutputs', source='decode_head.logits')),
    teacher_recorders=dict(
        logits=dict(type='ModuleOutputs', source='decode_head.logits')),
    distill_losses=dict(
        # As in the official code: summed over the batch and not averaged, and not
        # multiplied by the square of tau, which KLDivergence does.
        loss_kl=dict(
            type='ResizeTeacherLoss',
            loss=dict(
                type='KLDivergence',
                tau=0.7,
                reduction='sum',
                loss_weight=1 / 0.7**2))),
    loss_forward_mappings=dict(
        loss_kl=dict(
            preds_S=dict(from_student=True, recorder='logits'),
            preds_T=dict(from_student=False, recorder='logits'))))
