# Adam, 300 iterations: 20 of warm-up from 4e-4 to 4e-3, a cosine down to 1e-5. For
# comparisons that a CPU can do; a network so small and so shortly trained needs a
# classifier that knows the classes' shares (ClassPrior).
max_iters = 300
warmup_iters = 20
base_lr = 4e-3
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
