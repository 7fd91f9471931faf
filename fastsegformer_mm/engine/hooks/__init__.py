"""Hooks."""

from .channels_last_hook import ChannelsLastHook
from .check_checkpoint_hook import CheckCheckpointHook
from .check_dataset_hook import CheckDatasetHook
from .evaluation_report_hook import EvaluationReportHook
from .exact_resume_hook import ExactResumeHook
from .freeze_unfreeze_hook import FreezeUnfreezeHook
from .main_process_logger_hook import MainProcessLoggerHook
from .missed_validation_hook import MissedValidationHook
from .no_op_hook import NoOpHook
from .non_finite_loss_hook import NonFiniteLossHook
from .resume_newest_hook import ResumeNewestHook
from .safe_checkpoint_hook import SafeCheckpointHook

__all__ = [
    'ChannelsLastHook',
    'CheckCheckpointHook',
    'CheckDatasetHook',
    'EvaluationReportHook',
    'ExactResumeHook',
    'FreezeUnfreezeHook',
    'MainProcessLoggerHook',
    'MissedValidationHook',
    'NoOpHook',
    'NonFiniteLossHook',
    'ResumeNewestHook',
    'SafeCheckpointHook',
]
