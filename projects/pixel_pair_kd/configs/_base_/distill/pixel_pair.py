# What a DeepLabV3+ learns from a larger one, with the published weights. The decoders
# are equally wide, and similarities have no channels: no connector is needed. Where
# the decoders differ, loss_pixel in mode='code' compares them all the same; in
# mode='paper' it takes a connector on the student's side.
#
# pair     student and teacher
# pixel    the decoder's last convolution, before its ReLU, stride 4
# pair     the encoder's last map, stride 16
distiller = dict(
    type='ConfigurableDistiller',
    student_recorders=dict(
        encoder=dict(type='ModuleOutputs', source='backbone'),
        decoder=dict(
            type='ModuleOutputs',
            source='decode_head.sep_bottleneck.1.pointwise_conv.bn')),
    teacher_recorders=dict(
        encoder=dict(type='ModuleOutputs', source='backbone'),
        decoder=dict(
            type='ModuleOutputs',
            source='decode_head.sep_bottleneck.1.pointwise_conv.bn')),
    distill_losses=dict(
        loss_pixel=dict(type='PixelWiseLoss', loss_weight=100.0, mode='code'),
        loss_pair=dict(type='PairWiseLoss', loss_weight=1.0)),
    loss_forward_mappings=dict(
        loss_pixel=dict(
            preds_S=dict(from_student=True, recorder='decoder'),
            preds_T=dict(from_student=False, recorder='decoder')),
        loss_pair=dict(
            preds_S=dict(from_student=True, recorder='encoder', data_idx=3),
            preds_T=dict(from_student=False, recorder='encoder', data_idx=3))))
