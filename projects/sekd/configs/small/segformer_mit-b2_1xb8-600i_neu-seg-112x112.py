# The teacher of this folder.
_base_ = [
    '../../../../configs/_base_/models/segformer_mit-b2.py',
    '../../../../configs/_base_/datasets/neu_seg_112x112.py',
    '../../../../configs/_base_/schedules/adam_600i.py',
    '../../../../configs/_base_/default_runtime.py'
]
# so few iterations know the classes' shares from the start
model = dict(
    decode_head=dict(
        init_cfg=dict(
            type='Normal',
            std=0.01,
            override=dict(
                name='conv_seg', type='ClassPrior', prior=[88, 2, 8, 2]))))
optim_wrapper = dict(optimizer=dict(lr=5e-4))
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=600))
log_processor = dict(by_epoch=False)
