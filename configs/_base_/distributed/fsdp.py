# For networks that do not fit on one GPU: parameters, gradients and the optimizer's
# moments are sharded over all processes. In one process it cannot be used.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        # parameters keep their names, which paramwise_cfg and checkpoints use
        use_orig_params=True,
        # a unit of at least a million parameters is gathered at a time
        auto_wrap_policy=dict(
            type='fastsegformer_mm.engine.distributed.wrap_policy.'
            'segmentor_wrap_policy',
            min_num_params=1_000_000)),
    # rank 0 writes a checkpoint like any other, for tests and as a teacher
    state_dict_cfg='full')
