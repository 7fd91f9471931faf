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
_base_ = [
    './_base_/logits.py', '../../../configs/_base_/distill/pkl_nfd_stages.py'
]

student = (
    '{{ fileDirname }}/../../sekd/configs/small/'
    'segformer_mit-b0_1xb8-300i_neu-seg-112x112.py')
teacher_name = 'segformer_mit-b2_1xb8-600i_neu-seg-112x112'
teacher = '{{ fileDirname }}/../../sekd/configs/small/' f'{teacher_name}.py'
teacher_ckpt = f'work_dirs/{teacher_name}/best_mIoU_iter_*.pth'
seeds = [0, 1, 2]
cfg = dict(
    train_cfg=dict(val_interval=100),
    default_hooks=dict(checkpoint=dict(interval=50, max_keep_ckpts=1)))

sekd = '{{ fileDirname }}/../../sekd/configs/_base_/distill'
maps = dict(
    decoder=dict(type='ModuleOutputs', source='decode_head.fusion_conv.bn'),
    backbone=dict(type='ModuleOutputs', source='backbone'))
one_conv = dict(type='ConvModuleConnector', act_cfg=None)

methods = dict(
    # KLDivergence multiplies by tau squared, which the official code does not; it
    # sums over batch and pixels beside a cross entropy that is summed over the
    # pixels, and the cross entropy here is their mean.
    mff_kl=dict(weights=dict(loss_kl=1 / 0.7**2 / 28**2)),
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
        weights={f'loss_nfd_stage{i}': 0.05
                 for i in (1, 2, 3, 4)},
        note='NFD has a hundredth of its published weight of 5'),
    # 0.5 CT (or SU) + 1 texture, each the mean over four stages
    sekd_ct=dict(
        title='SEKD-CT',
        reference='projects/sekd',
        distiller=f'{sekd}/sekd_ct.py',
        cfg=dict(custom_imports=dict(imports=['sekd']))),
    sekd_su=dict(
        title='SEKD-SU',
        reference='projects/sekd',
        distiller=f'{sekd}/sekd_su.py',
        cfg=dict(custom_imports=dict(imports=['sekd']))),
    pixel_pair=dict(
        title='pixel + pair',
        reference='https://github.com/AmirMansurian/AICSD',
        cfg=dict(custom_imports=dict(imports=['pixel_pair_kd'])),
        distiller=dict(
            type='ConfigurableDistiller',
            student_recorders=maps,
            teacher_recorders=maps,
            # published weights: 100 and 1
            distill_losses=dict(
                loss_pixel=dict(
                    type='PixelWiseLoss', mode='code', loss_weight=100.0),
                loss_pair=dict(type='PairWiseLoss', loss_weight=1.0)),
            loss_forward_mappings=dict(
                loss_pixel=dict(
                    preds_S=dict(from_student=True, recorder='decoder'),
                    preds_T=dict(from_student=False, recorder='decoder')),
                loss_pair=dict(
                    preds_S=dict(
                        from_student=True, recorder='backbone', data_idx=3),
                    preds_T=dict(
                        from_student=False, recorder='backbone', data_idx=3))))))
