"""Hooks."""

from .evaluation_report_hook import EvaluationReportHook
from .exact_resume_hook import ExactResumeHook
from .freeze_unfreeze_hook import FreezeUnfreezeHook
from .resume_newest_hook import ResumeNewestHook
from .safe_checkpoint_hook import SafeCheckpointHook

__all__ = [
    'EvaluationReportHook',
    'ExactResumeHook',
    'FreezeUnfreezeHook',
    'ResumeNewestHook',
    'SafeCheckpointHook',
]
