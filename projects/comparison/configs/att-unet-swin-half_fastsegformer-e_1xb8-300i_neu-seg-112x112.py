# A teacher at 224x224 and FastSegFormer-E at 112x112 on NEU-Seg without the turned
# copies of test images, at a size for a CPU: 300 iterations of 8 images.
#   fastsegformer import-neu-seg NEU_Seg.zip data/neu_seg_without_copies \
#       --without-copies
#   fastsegformer compare-distillation THIS_FILE
#
# Images come at 224x224 and are resized for the student (KD2), which `no_teacher` has
# too; `alone` has its own pipeline at 112x112. Compared are, (student, teacher):
#   logits   4 channels, 112x112 with 224x224    decode_head.conv_seg
#   maps     the seven pairs of pkl_nfd.py
#   decoder  32 with 48 channels at stride 2, before the ReLU
# Weights are those published, but for what a note says.
_base_ = [
    './_base_/logits.py', '../../../configs/_base_/distill/pkl_nfd.py',
    '../../../configs/_base_/distill/teacher_224x224.py',
    '../../../configs/_base_/distill/'
    'connectors_fastsegformer-e_swin-half-att-unet.py'
]

networks = '{{ fileDirname }}/../../../configs/distill/small'
student = (
    f'{networks}/'
    'fastsegformer-e_efficientformerv2-s0_1xb8-300i_neu-seg-112x112.py')
# without a checkpoint of its own: it is trained as part of the comparison
teacher = f'{networks}/att-unet_swin-half_1xb8-600i_neu-seg-224x224.py'
seeds = [0, 1, 2]
# of all trainings, the teacher's too
data_root = 'data/neu_seg_without_copies'
cfg = dict(
    train_dataloader=dict(dataset=dict(data_root=data_root)),
    val_dataloader=dict(dataset=dict(data_root=data_root)),
    test_dataloader=dict(dataset=dict(data_root=data_root)),
    train_cfg=dict(val_interval=100),
    default_hooks=dict(checkpoint=dict(interval=50, max_keep_ckpts=1)))

images = dict(
    labelled=dict(
        model=dict(student_size=(112, 112)),
        train_dataloader=dict(
            dataset=dict(pipeline=_base_.teacher_train_pipeline))))

pkl_nfd = dict(
    reference='https://doi.org/10.1016/j.compag.2023.108604',
    distiller=dict(connectors=_base_.connectors, **_base_.distiller))
nfd = [loss for loss in _base_.distiller.distill_losses if 'nfd' in loss]
stages = (1, 2, 3, 4)
backbone = dict(type='ModuleOutputs', source='backbone')
methods = dict(
    # see the other comparison
    mff_kl=dict(weights=dict(loss_kl=1 / 0.7**2 / 112**2)),
    pkl_nfd=dict(pkl_nfd, title='P&KL + NFD'),
    pkl_nfd_light=dict(
        pkl_nfd,
        title='P&KL + NFD, light',
        note='NFD has a hundredth of its published weight of 5',
        weights=dict.fromkeys(nfd, 0.05)),
    pkl_nfd_balanced=dict(
        pkl_nfd,
        title='P&KL + NFD, balanced',
        note="gradients of P&KL half, of each NFD a tenth of the cross entropy's",
        cfg=dict(
            custom_hooks=[
                dict(
                    type='mmrazor.GradientBalanceHook',
                    share={
                        'loss_pkl': 0.5,
                        'loss_nfd_*': 0.1
                    })
            ])),
    sekd_ct=dict(
        title='SEKD-CT',
        reference='projects/sekd',
        note='without the texture of patch embeddings, which the student has not',
        cfg=dict(custom_imports=dict(imports=['sekd'])),
        distiller=dict(
            type='ConfigurableDistiller',
            student_recorders=dict(backbone=backbone),
            teacher_recorders=dict(backbone=backbone),
            connectors={
                f'stage{i}': _base_.connectors[f'stage{i}']
                for i in stages
            },
            distill_losses={
                f'loss_feature{i}': dict(
                    type='ContextAlignmentLoss', loss_weight=0.125)
                for i in stages
            },
            loss_forward_mappings={
                f'loss_feature{i}': dict(
                    preds_S=dict(
                        from_student=True, recorder='backbone', data_idx=i - 1,
                        connector=f'stage{i}'),
                    preds_T=dict(
                        from_student=False, recorder='backbone',
                        data_idx=i - 1))
                for i in stages
            })),
    pixel_pair=dict(
        title='pixel + pair',
        reference='https://github.com/AmirMansurian/AICSD',
        cfg=dict(custom_imports=dict(imports=['pixel_pair_kd'])),
        distiller=dict(
            type='ConfigurableDistiller',
            student_recorders=dict(
                backbone=backbone,
                decoder=dict(
                    type='ModuleOutputs',
                    source='decode_head.branch.fuse.pointwise_conv.bn')),
            teacher_recorders=dict(
                backbone=backbone,
                decoder=dict(
                    type='ModuleOutputs',
                    source='decode_head.decoder.3.conv.1.bn')),
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
