# no other module: upstream's MMEngine takes a config that imports one for a lazy one
import sys

# Importing the package registers every part of it with MMSegmentation.
custom_imports = dict(
    imports=['fastsegformer_mm', 'robust_training'], allow_failed_imports=False)
default_scope = 'mmseg'

env_cfg = dict(
    # every batch has one size, so cuDNN may pick its kernels once
    cudnn_benchmark=True,
    mp_cfg=dict(
        # elsewhere libraries of the system do not survive a fork
        mp_start_method='fork' if sys.platform == 'linux' else 'spawn',
        opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    # rank 0 alone writes the log files
    logger=dict(type='MainProcessLoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # the new checkpoint is complete before an old one is removed
    checkpoint=dict(
        type='SafeCheckpointHook',
        interval=10,
        max_keep_ckpts=3,
        save_best='mIoU'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # several processes: BatchNorm's statistics are averaged before they are saved
    sync_buffers=dict(type='SyncBuffersHook'),
    visualization=dict(type='SegVisualizationHook'),
    # confusion matrix and per-class charts of a test run, into the work dir
    evaluation_report=dict(type='EvaluationReportHook'),
    # a quick look at the data before the first iteration; full=True for all of it
    check_dataset=dict(type='CheckDatasetHook'),
    # a checkpoint of another network or class count is an error, not a warning
    check_checkpoint=dict(type='CheckCheckpointHook'),
    # --resume takes the newest checkpoint that is whole
    resume_newest=dict(type='ResumeNewestHook'),
    # and validates it, if the interruption has prevented that
    missed_validation=dict(type='MissedValidationHook'),
    # a resumed training gives the weights of one that was never interrupted
    exact_resume=dict(type='ExactResumeHook'),
    # a loss that is NaN or infinite stops training before it reaches the weights
    non_finite_loss=dict(type='NonFiniteLossHook'))

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False

tta_model = dict(type='SegTTAModel')
