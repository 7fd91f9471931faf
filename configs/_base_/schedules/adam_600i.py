# Adam, 600 iterations: 50 of warm-up from 1e-4 to 1e-3, a cosine down to 1e-5. For
# a transformer without pretraining, on a CPU.
max_iters = 600
warmup_iters = 50
base_lr = 1e-3
min_lr = 1e-5

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(
        type='Adam', lr=base_lr, betas=(0.9, 0.999), weight_decay=0.))
param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=0.1,
        begin=0,
        end=warmup_iters,
        by_epoch=False),
    dict(
        type='CosineAnnealingLR',
        eta_min=min_lr,
        begin=warmup_iters,
        end=max_iters,
        by_epoch=False)
]

train_cfg = dict(
    type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
