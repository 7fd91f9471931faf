# Adam, 100 epochs: 3 epochs of warm-up from 1e-5 to 1e-4, a cosine down to 1e-6,
# and the last 15 epochs at 1e-6. To train longer or shorter, copy this file and
# change max_epochs alone.
max_epochs = 100
warmup_epochs = 3
final_epochs = 15
base_lr = 1e-4
warmup_lr = 1e-5
min_lr = 1e-6

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='Adam', lr=base_lr, betas=(0.9, 0.999), weight_decay=0.))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=warmup_lr / base_lr,
        begin=0,
        end=warmup_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
    # the last value of a scheduler stays, hence the final epochs at min_lr
    dict(
        type='CosineAnnealingLR',
        eta_min=min_lr,
        begin=warmup_epochs,
        end=max_epochs - final_epochs,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=5)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
