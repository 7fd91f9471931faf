# AdamW, 100 epochs: from 5e-5 down to 0 (poly, power 1 as MMSegmentation's SegFormer),
# weight decay on all but the norms. To train longer or shorter, copy this file and
# change max_epochs alone.
max_epochs = 100

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=5e-5, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(norm_decay_mult=0.))
param_scheduler = [
    dict(
        type='PolyLR',
        power=1.0,
        eta_min=0.,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
