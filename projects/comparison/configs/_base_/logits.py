# Distillations that compare logits alone, for any two networks whose classifier is
# `decode_head.conv_seg`, at any two sizes. Weights are those published, but for what a
# note says. A comparison takes them by `_base_` and adds its own to `methods`.
logits = dict(logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'))
logits_pair = dict(
    preds_S=dict(from_student=True, recorder='logits'),
    preds_T=dict(from_student=False, recorder='logits'))
on_logits = dict(
    type='ConfigurableDistiller',
    student_recorders=logits,
    teacher_recorders=logits)

methods = dict(
    pkl=dict(
        title='P&KL',
        reference='https://doi.org/10.1016/j.compag.2023.108604',
        distiller='{{ fileDirname }}/../../../../configs/_base_/distill/pkl.py'),
    kl_standardised=dict(
        title='KL standardised',
        reference='https://arxiv.org/abs/2403.01427',
        note='every class counts the same',
        distiller=dict(
            on_logits,
            student_recorders=dict(
                logits,
                labels=dict(
                    type='ModuleInputs', source='decode_head.loss_decode')),
            distill_losses=dict(loss_kl=dict(type='StandardizedKLLoss')),
            loss_forward_mappings=dict(
                loss_kl=dict(
                    logits_pair,
                    labels=dict(
                        from_student=True, recorder='labels', data_idx=1))))),
    mff_kl=dict(
        title="MFF-Metal's KL",
        reference='projects/mff_metal',
        note='divided by the number of pixels, as the cross entropy is',
        distiller=dict(
            on_logits,
            distill_losses=dict(
                loss_kl=dict(
                    type='ResizeTeacherLoss',
                    loss=dict(type='KLDivergence', tau=0.7, reduction='sum'))),
            loss_forward_mappings=dict(loss_kl=logits_pair))),
    cwd=dict(
        title='CWD',
        reference='https://arxiv.org/abs/2011.13256',
        # temperature and weight of MMRazor's config
        distiller=dict(
            on_logits,
            distill_losses=dict(
                loss_cwd=dict(
                    type='ResizeTeacherLoss',
                    loss=dict(type='ChannelWiseDivergence', tau=1.0),
                    loss_weight=5.0)),
            loss_forward_mappings=dict(loss_cwd=logits_pair))),
    dist=dict(
        title='DIST',
        reference='https://arxiv.org/abs/2205.10536',
        # MMRazor's loss with its own weights: at each pixel correlations between the
        # classes of an image, and between the images of a batch
        distiller=dict(
            on_logits,
            distill_losses=dict(
                loss_dist=dict(
                    type='ResizeTeacherLoss', loss=dict(type='DISTLoss'))),
            loss_forward_mappings=dict(loss_dist=logits_pair))))
