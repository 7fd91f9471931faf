# SegFormer-B2 teaches SegFormer-B0 on NEU-Seg, at a size for a CPU: 300 iterations of
# 8 images of 112x112 for every method. Compared by
#   fastsegformer compare-distillation THIS_FILE
#
# All but `alone` compare maps of the same images, (student, teacher):
#   logits   4 channels, 28x28              decode_head.conv_seg
#   decoder  256 channels, 28x28            decode_head.fusion_conv, before its ReLU
#   stages   32, 64, 160, 256 channels with 64, 128, 320, 512; 28x28 to 4x4
# The student's own loss is a mean over the pixels, and so is whatever has been
# published beside a sum over them. Weights are those published, but for what a note
# says.
_base_ = ['../../../configs/_base_/distill/pkl_nfd_stages.py']

student = (
    '{{ fileDirname }}/../../sekd/configs/small/'
    'segformer_mit-b0_1xb8-300i_neu-seg-112x112.py')
teacher_name = 'segformer_mit-b2_1xb8-600i_neu-seg-112x112'
teacher = '{{ fileDirname }}/../../sekd/configs/small/' f'{teacher_name}.py'
teacher_ckpt = f'work_dirs/{teacher_name}/best_mIoU_iter_*.pth'
seeds = [0, 1, 2]
checkpoint_interval = 50  # iterations

sekd = '{{ fileDirname }}/../../sekd/configs/_base_/distill'
recorders = dict(
    logits=dict(type='ModuleOutputs', source='decode_head.conv_seg'),
    decoder=dict(type='ModuleOutputs', source='decode_head.fusion_conv.bn'),
    backbone=dict(type='ModuleOutputs', source='backbone'))
one_conv = dict(type='ConvModuleConnector', act_cfg=None)
# for the methods that compare logits alone
on_logits = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(logits=recorders['logits']),
    teacher_recorders=dict(logits=recorders['logits']))
logits_pair = dict(
    preds_S=dict(from_student=True, recorder='logits'),
    preds_T=dict(from_student=False, recorder='logits'))

methods = dict(
    pkl_nfd=dict(
        title='P&KL + NFD',
        reference='https://doi.org/10.1016/j.compag.2023.108604',
        distiller=dict(
            connectors=dict(
                stage1=dict(one_conv, in_channel=32, out_channel=64),
                stage2=dict(one_conv, in_channel=64, out_channel=128),
                stage3=dict(one_conv, in_channel=160, out_channel=320),
                stage4=dict(one_conv, in_channel=256, out_channel=512)),
            **_base_.distiller),
        # The published 5 is for 1000 epochs: the norm divided by H W is about 10 at
        # 4x4, so that hardly anything else would be learnt in 300 iterations.
        weights=dict(
            loss_pkl=0.5,
            loss_nfd_stage1=0.05,
            loss_nfd_stage2=0.05,
            loss_nfd_stage3=0.05,
            loss_nfd_stage4=0.05),
        note='NFD has a hundredth of its published weight of 5'),
    mff_kl=dict(
        title="MFF-Metal's KL",
        reference='projects/mff_metal',
        distiller=dict(
            on_logits,
            distill_losses=dict(
                loss_kl=dict(
                    type='ResizeTeacherLoss',
                    loss=dict(type='KLDivergence', tau=0.7, reduction='sum'))),
            loss_forward_mappings=dict(loss_kl=logits_pair)),
        # KLDivergence multiplies by tau squared, which the official code does not;
        # it sums over batch and pixels beside a cross entropy that is summed over
        # the pixels, and the cross entropy here is their mean.
        weights=dict(loss_kl=1 / 0.7**2 / 28**2),
        note='divided by the number of pixels, as the cross entropy is'),
    sekd_ct=dict(
        title='SEKD-CT',
        reference='projects/sekd',
        distiller=f'{sekd}/sekd_ct.py',
        imports=['sekd'],
        # 0.5 CT + 1 texture, each the mean over four stages
        weights=dict(
            loss_feature1=0.125,
            loss_feature2=0.125,
            loss_feature3=0.125,
            loss_feature4=0.125,
            loss_texture1=0.25,
            loss_texture2=0.25,
            loss_texture3=0.25,
            loss_texture4=0.25)),
    sekd_su=dict(
        title='SEKD-SU',
        reference='projects/sekd',
        distiller=f'{sekd}/sekd_su.py',
        imports=['sekd'],
        # 0.5 SU + 1 texture, each the mean over four stages
        weights=dict(
            loss_feature1=0.125,
            loss_feature2=0.125,
            loss_feature3=0.125,
            loss_feature4=0.125,
            loss_texture1=0.25,
            loss_texture2=0.25,
            loss_texture3=0.25,
            loss_texture4=0.25)),
    pixel_pair=dict(
        title='pixel + pair',
        reference='https://github.com/AmirMansurian/AICSD',
        imports=['pixel_pair_kd'],
        distiller=dict(
            type='ConfigurableDistiller',
            student_recorders=dict(
                decoder=recorders['decoder'], backbone=recorders['backbone']),
            teacher_recorders=dict(
                decoder=recorders['decoder'], backbone=recorders['backbone']),
            distill_losses=dict(
                loss_pixel=dict(type='PixelWiseLoss', mode='code'),
                loss_pair=dict(type='PairWiseLoss')),
            loss_forward_mappings=dict(
                loss_pixel=dict(
                    preds_S=dict(from_student=True, recorder='decoder'),
                    preds_T=dict(from_student=False, recorder='decoder')),
                loss_pair=dict(
                    preds_S=dict(
                        from_student=True, recorder='backbone', data_idx=3),
                    preds_T=dict(
                        from_student=False, recorder='backbone', data_idx=3)))),
        # published: 100 and 1
        weights=dict(loss_pixel=100.0, loss_pair=1.0)),
    cwd=dict(
        title='CWD',
        reference='https://arxiv.org/abs/2011.13256',
        distiller=dict(
            on_logits,
            # it views a map as a matrix, which a map from tokens is not ready for
            distill_losses=dict(
                loss_cwd=dict(
                    type='ResizeTeacherLoss',
                    loss=dict(type='ChannelWiseDivergence', tau=1.0))),
            loss_forward_mappings=dict(loss_cwd=logits_pair)),
        # temperature and weight of MMRazor's config
        weights=dict(loss_cwd=5.0)),
    dist=dict(
        title='DIST',
        reference='https://arxiv.org/abs/2205.10536',
        # MMRazor's loss as it is: at each pixel correlations between the classes of
        # an image, and between the images of a batch
        distiller=dict(
            on_logits,
            distill_losses=dict(
                loss_dist=dict(
                    type='DISTLoss',
                    inter_loss_weight=1.0,
                    intra_loss_weight=1.0,
                    tau=1.0)),
            loss_forward_mappings=dict(
                loss_dist=dict(
                    logits_S=dict(from_student=True, recorder='logits'),
                    logits_T=dict(from_student=False, recorder='logits')))),
        # all three of them MMRazor's default
        weights=dict(loss_dist=1.0)))
