# Two epochs from scratch, for a look at the whole way on a CPU: about 12 minutes
# on 2 cores. Small batches, a high learning rate and a classifier that knows the
# classes' shares make the most of few iterations; for accuracy take the 100 epochs.
_base_ = [
    '../_base_/models/fastsegformer-e.py',
    '../_base_/datasets/neu_seg_224x224.py', '../_base_/default_runtime.py',
    '../_base_/schedules/adam_2e.py'
]
model = dict(
    decode_head=dict(
        init_cfg=dict(
            type='Normal',
            std=0.01,
            override=dict(
                name='conv_seg', type='ClassPrior', prior=[88, 2, 8, 2]))))
train_dataloader = dict(batch_size=8, num_workers=1)
val_dataloader = dict(num_workers=1)
test_dataloader = dict(num_workers=1)
default_hooks = dict(checkpoint=dict(interval=1))
