# The student of this folder alone, for comparison: about 2 minutes on a CPU core.
_base_ = [
    '../../_base_/models/fastsegformer-e.py',
    '../../_base_/datasets/neu_seg_112x112.py',
    '../../_base_/default_runtime.py', '../../_base_/schedules/adam_300i.py'
]
model = dict(
    decode_head=dict(
        init_cfg=dict(
            type='Normal',
            std=0.01,
            override=dict(
                name='conv_seg', type='ClassPrior', prior=[88, 2, 8, 2]))))
default_hooks = dict(
    logger=dict(interval=20, log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=300))
log_processor = dict(by_epoch=False)
