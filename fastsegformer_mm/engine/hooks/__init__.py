"""Hooks."""

from .check_checkpoint_hook import CheckCheckpointHook
from .evaluation_report_hook import EvaluationReportHook
from .exact_resume_hook import ExactResumeHook
from .freeze_unfreeze_hook import FreezeUnfreezeHook
from .main_process_logger_hook import MainProcessLoggerHook
from .resume_newest_hook import ResumeNewestHook
from .safe_checkpoint_hook import SafeCheckpointHook

__all__ = [
    'CheckCheckpointHook',
    'EvaluationReportHook',
    'ExactResumeHook',
    'FreezeUnfreezeHook',
    'MainProcessLoggerHook',
    'ResumeNewestHook',
    'SafeCheckpointHook',
]
