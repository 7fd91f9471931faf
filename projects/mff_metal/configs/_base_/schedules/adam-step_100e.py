# MFF-Metal's in a third of the time: Adam, 100 epochs at 1e-3, which is halved four
# times.
max_epochs = 100
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='Adam', lr=1e-3, betas=(0.9, 0.999), weight_decay=0.))
param_scheduler = [
    dict(
        type='MultiStepLR', milestones=[33, 40, 50, 87], gamma=0.5, by_epoch=True)
]

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
