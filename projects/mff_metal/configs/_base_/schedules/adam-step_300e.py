# MFF-Metal's: Adam, 300 epochs at 1e-3, which is halved four times.
max_epochs = 300
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='Adam', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.))
param_scheduler = [
    dict(
        type='MultiStepLR', milestones=[100, 120, 150, 260], gamma=0.5, by_epoch=True)
]

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
