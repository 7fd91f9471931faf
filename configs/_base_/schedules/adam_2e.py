# Adam, 2 epochs of small batches: a tenth of an epoch of warm-up from 2e-4 to
# 2e-3, a cosine down to 1e-6. For a look at the whole way on a CPU.
max_epochs = 2
warmup_epochs = 0.1
base_lr = 2e-3
min_lr = 1e-6

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='Adam', lr=base_lr, betas=(0.9, 0.999), weight_decay=0.))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        begin=0,
        end=warmup_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=min_lr,
        begin=warmup_epochs,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True)
]

train_cfg = dict(
    type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
