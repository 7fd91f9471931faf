# What SEKD compares, SegFormer-B0 with SegFormer-B2 or -B3, whose channels are the
# same: the maps of the four stages, whose loss each method has of its own (sekd.py,
# sekd_su.py, sekd_ct.py), and the four patch embeddings, whose texture is compared in
# all. Weights are a quarter of the paper's: it averages over the stages.
stages = (1, 2, 3, 4)
student_channels = dict(zip(stages, (32, 64, 160, 256)))
teacher_channels = dict(zip(stages, (64, 128, 320, 512)))
recorders = dict(
    stages=dict(type='ModuleOutputs', source='backbone'),
    # what a patch embedding gives: its tokens and their (height, width)
    embedding1=dict(type='ModuleOutputs', source='backbone.layers.0.0'),
    embedding2=dict(type='ModuleOutputs', source='backbone.layers.1.0'),
    embedding3=dict(type='ModuleOutputs', source='backbone.layers.2.0'),
    embedding4=dict(type='ModuleOutputs', source='backbone.layers.3.0'))

adapters = {
    f'stage{i}': dict(
        type='SEKDAdapter',
        in_channel=student_channels[i],
        out_channel=teacher_channels[i])
    for i in stages
}
linear_layers = {
    f'embedding{i}': dict(
        type='TorchNNConnector',
        module_name='Linear',
        module_args=dict(
            in_features=student_channels[i], out_features=teacher_channels[i]))
    for i in stages
}
feature_pairs = {
    f'loss_feature{i}': dict(
        preds_S=dict(
            from_student=True, recorder='stages', data_idx=i - 1,
            connector=f'stage{i}'),
        preds_T=dict(from_student=False, recorder='stages', data_idx=i - 1))
    for i in stages
}
texture_pairs = {
    f'loss_texture{i}': dict(
        preds_S=dict(
            from_student=True, recorder=f'embedding{i}', data_idx=0,
            connector=f'embedding{i}'),
        preds_T=dict(
            from_student=False, recorder=f'embedding{i}', data_idx=0),
        size_S=dict(from_student=True, recorder=f'embedding{i}', data_idx=1),
        size_T=dict(from_student=False, recorder=f'embedding{i}', data_idx=1))
    for i in stages
}
distiller = dict(
    type='ConfigurableDistiller',
    student_recorders=recorders,
    teacher_recorders=recorders,
    connectors=dict(**adapters, **linear_layers),
    distill_losses={
        f'loss_texture{i}': dict(type='TextureLoss', loss_weight=0.25)
        for i in stages
    },
    loss_forward_mappings=dict(**feature_pairs, **texture_pairs))
